//! A deployment's configuration, read once from the environment that the template sets.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use mailrail_connect::InternalHosts;
use mailrail_domain::{
    rules::retry::SERVER_WAIT_SECONDS_MAX,
    settings::profile::POLLING_MINUTES_MAX,
    words::policy::{GAP_SECONDS, GAP_SECONDS_MIN, RetryPolicy},
};
use mailrail_engine::Settings;
use mailrail_exchange_online::Hosts;
use mailrail_queue::QueueUrls;

/// Where the functions run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployment {
    /// In an AWS account, for people's mail.
    Production,
    /// On somebody's machine, where a demonstration may be quicker than mail servers would like.
    Local,
}

/// Everything that a deployment sets.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Where the functions run.
    pub deployment: Deployment,
    /// The table.
    pub table_name: String,
    /// The bucket; empty for functions without one.
    pub bucket_name: String,
    /// The key that wraps data keys; empty for functions without one.
    pub kms_key_id: String,
    /// The queues that the function may use.
    pub queues: QueueUrls,
    /// Settings of the use cases.
    pub settings: Settings,
    /// Certificate authorities that are trusted besides the public ones, as PEM.
    pub extra_ca_pem: String,
    /// Whether mail servers may be at internal addresses.
    pub internal_hosts: InternalHosts,
    /// Where Exchange Online is: where Microsoft has it, but for a local stack.
    pub exchange_online: Hosts,
    /// SHA-256 of the console's bearer token, in hexadecimal.
    pub console_token_sha256: String,
}

impl Configuration {
    /// Reads the environment, and says which variable is wrong and what it may be.
    pub fn from_environment() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads variables, an empty one being none.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let given = |name: &str| variable(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let deployment = match given("DEPLOYMENT").as_deref() {
            None | Some("production") => Deployment::Production,
            Some("local") => Deployment::Local,
            Some(other) => bail!("DEPLOYMENT is \"{other}\"; use production or local"),
        };
        let internal_hosts = match given("INTERNAL_HOSTS").as_deref() {
            None | Some("refuse") => InternalHosts::Refuse,
            Some("allow") => InternalHosts::Allow,
            Some(other) => bail!("INTERNAL_HOSTS is \"{other}\"; use refuse or allow"),
        };
        let gap_seconds = number(&given, "RETRY_GAP_SECONDS", GAP_SECONDS)?;
        let gap_seconds_min = match deployment {
            Deployment::Production => GAP_SECONDS_MIN,
            Deployment::Local => 1,
        };
        ensure!(
            (gap_seconds_min..=SERVER_WAIT_SECONDS_MAX).contains(&gap_seconds),
            "RETRY_GAP_SECONDS is {gap_seconds}; use {gap_seconds_min} to {SERVER_WAIT_SECONDS_MAX}"
        );
        let polling_interval_minutes = number(&given, "POLLING_INTERVAL_MINUTES", 5)?;
        ensure!(
            (1..=POLLING_MINUTES_MAX).contains(&polling_interval_minutes),
            "POLLING_INTERVAL_MINUTES is {polling_interval_minutes}; use 1 to {POLLING_MINUTES_MAX}"
        );
        let invocations_max = number(&given, "INVOCATIONS_MAX", 10)?;
        ensure!(invocations_max > 0, "INVOCATIONS_MAX is 0; use the mapping's maximum concurrency, at least 2");
        let fips = match given("FIPS").as_deref() {
            None | Some("no") => false,
            Some("yes") => true,
            Some(other) => bail!("FIPS is \"{other}\"; use yes or no"),
        };
        ensure!(
            !fips || cfg!(feature = "fips"),
            "FIPS is yes and this function was built without validated cryptography; build it with --features fips"
        );
        let exchange_online = match (given("EXCHANGE_ONLINE_URL"), deployment) {
            (None, _) => Hosts::Microsoft,
            (Some(url), Deployment::Local) => {
                ensure!(url.starts_with("https://"), "EXCHANGE_ONLINE_URL is \"{url}\"; it begins with https://");
                let url = url.trim_end_matches('/').to_owned();
                Hosts::At { login: url.clone(), graph: url }
            }
            (Some(_), Deployment::Production) => {
                bail!("EXCHANGE_ONLINE_URL is for DEPLOYMENT=local alone: tokens go to Microsoft and nobody else")
            }
        };
        Ok(Self {
            deployment,
            table_name: given("TABLE_NAME").context("TABLE_NAME is not set; the template sets it")?,
            bucket_name: given("BUCKET_NAME").unwrap_or_default(),
            kms_key_id: given("KMS_KEY_ID").unwrap_or_default(),
            queues: QueueUrls {
                incoming_email: given("INCOMING_EMAIL_QUEUE_URL"),
                outgoing_email: given("OUTGOING_EMAIL_QUEUE_URL"),
                tests: given("TESTS_QUEUE_URL"),
            },
            settings: Settings {
                retry: RetryPolicy { gap_seconds, ..RetryPolicy::default() },
                polling_interval_minutes,
                fips,
                invocations_max,
            },
            extra_ca_pem: given("EXTRA_CA_PEM").unwrap_or_default(),
            internal_hosts,
            exchange_online,
            console_token_sha256: given("CONSOLE_TOKEN_SHA256").unwrap_or_default().to_ascii_lowercase(),
        })
    }
}

fn number<T: FromStr>(given: &impl Fn(&str) -> Option<String>, name: &str, default: T) -> Result<T> {
    match given(name) {
        None => Ok(default),
        Some(text) => {
            text.parse().ok().with_context(|| format!("{name} is \"{text}\", which is not a number it may be"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Configuration> {
        Configuration::from_variables(|name| {
            let all = [("TABLE_NAME", "t")].iter().chain(variables);
            all.rev().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn defaults_are_those_of_the_source_page() {
        let settings = read(&[]).unwrap().settings;
        assert_eq!((settings.retry.failures_max, settings.retry.gap_seconds), (10, 300));
    }

    #[test]
    fn a_deployment_refuses_a_gap_below_a_minute_and_a_demonstration_does_not() {
        let refusal = read(&[("RETRY_GAP_SECONDS", "59")]).unwrap_err().to_string();
        assert!(refusal.contains("RETRY_GAP_SECONDS is 59"), "{refusal}");
        assert!(read(&[("RETRY_GAP_SECONDS", "60")]).is_ok());
        assert!(read(&[("RETRY_GAP_SECONDS", "2"), ("DEPLOYMENT", "local")]).is_ok());
    }

    #[test]
    fn exchange_online_is_elsewhere_on_a_local_stack_alone() {
        let local = |url| read(&[("EXCHANGE_ONLINE_URL", url), ("DEPLOYMENT", "local")]);
        assert!(local("http://localhost:1").is_err());
        let url = "https://localhost:1".to_owned();
        assert_eq!(
            local("https://localhost:1/").unwrap().exchange_online,
            Hosts::At { login: url.clone(), graph: url }
        );
    }

    #[test]
    #[cfg(not(feature = "fips"))]
    fn a_function_without_validated_cryptography_does_not_start_where_it_is_demanded() {
        let refusal = read(&[("FIPS", "yes")]).unwrap_err().to_string();
        assert!(refusal.contains("--features fips"), "{refusal}");
        assert!(!read(&[("FIPS", "no")]).unwrap().settings.fips);
    }

    #[test]
    fn every_bad_variable_is_named() {
        for (name, value) in [
            ("DEPLOYMENT", "staging"),
            ("INTERNAL_HOSTS", "yes"),
            ("FIPS", "maybe"),
            ("RETRY_GAP_SECONDS", "five"),
            ("POLLING_INTERVAL_MINUTES", "0"),
            ("POLLING_INTERVAL_MINUTES", "1441"),
            ("INVOCATIONS_MAX", "-1"),
            ("INVOCATIONS_MAX", "0"),
            ("EXCHANGE_ONLINE_URL", "https://graph.example.com"),
            ("TABLE_NAME", ""),
        ] {
            let refusal = read(&[(name, value)]).unwrap_err().to_string();
            assert!(refusal.contains(name), "{name}={value}: {refusal}");
        }
    }
}
