//! Email server profiles: create, read, change, delete, import.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use chrono::{DateTime, Utc};
use mailrail_boot::is_client_certificate;
use mailrail_domain::{
    settings::profile::{self, CONNECTIONS_DEFAULT, TIMEOUT_SECONDS_DEFAULT},
    words::{address::EmailAddress, cause, id::ProfileId, invalid::Invalid, policy},
};
use mailrail_engine::{
    administration::{
        By, SecretChange,
        profiles::{ProfileChange, ProfileSecret},
    },
    ports::{Ports, Secret, StoredProfile},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::words::{HoldInput, api_enum, default_of_the_rules};
use crate::{
    app::App,
    auth::Caller,
    body::{
        Body, Content, Parameters, Revised, Tagged, expected_revision, merged, names, never_shown, object, removes,
    },
    import::{self, Imported},
    page::{Listing, PageQuery},
    problem::Problem,
};

/// Longest certificate with its private key, as PEM: of RSA with 4,096 bits they have about 6 kB.
const CERTIFICATE_BYTES_MAX: usize = 16_384;

api_enum! {
    /// What kind of servers a profile is for.
    ServerType of profile::ServerType { InternetMail, ExchangeOnline, ExchangeServer }
}

api_enum! {
    /// A version of Exchange Server. Those before 2013 are known, and refused.
    ExchangeVersion of profile::ExchangeVersion {
        Exchange2003,
        Exchange2007,
        Exchange2010,
        Exchange2013,
        Exchange2016,
        Exchange2019,
        ExchangeSe,
    }
}

api_enum! {
    /// How incoming email is read.
    IncomingProtocol of profile::IncomingProtocol { Imap, Pop3 }
}

api_enum! {
    /// How a connection is secured.
    Security of profile::Security { Tls, Starttls }
}

api_enum! {
    /// Which of Microsoft's clouds a tenant is in.
    Cloud of profile::Cloud { Global, UsGovernment, UsGovernmentDod, China }
}

api_enum! {
    /// How to sign in.
    Authentication of profile::Authentication { Password, Xoauth2, ClientSecret, ClientCertificate, Ntlm }
}

api_enum! {
    /// What to do with an email of which nobody can say whether the server took it.
    UnknownOutcome of policy::UnknownOutcome { Hold, SendAgain }
}

api_enum! {
    /// Whose credentials are used.
    CredentialSource of cause::CredentialSource { Mailbox, Profile, ServerToServer }
}

default_of_the_rules!(
    ServerType of profile::ServerType,
    Cloud of profile::Cloud,
    Authentication of profile::Authentication,
    UnknownOutcome of policy::UnknownOutcome,
    CredentialSource of cause::CredentialSource,
);

/// A server of incoming email.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IncomingInput {
    /// `imap` or `pop3`.
    protocol: IncomingProtocol,
    /// DNS name or IP address.
    host: String,
    /// TCP port.
    port: u16,
    /// `tls` or `starttls`.
    security: Security,
}

/// A server of outgoing email.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutgoingInput {
    /// DNS name or IP address.
    host: String,
    /// TCP port.
    port: u16,
    /// `tls` or `starttls`.
    security: Security,
}

/// A profile, as it is given.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileInput {
    /// Its name, 1 to 100 characters.
    name: String,
    /// Who is told when a mailbox is disabled.
    owner_address: String,
    /// `internet-mail` (default), `exchange-online` or `exchange-server`.
    #[serde(default)]
    server_type: ServerType,
    /// Where incoming email is read from.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    incoming: Option<IncomingInput>,
    /// Where outgoing email is handed over.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    outgoing: Option<OutgoingInput>,
    /// Whether the servers are found by autodiscover.
    #[serde(default)]
    autodiscover: bool,
    /// Where the Exchange web services are, if autodiscover is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// Whether one account acts for all mailboxes.
    #[serde(default)]
    use_impersonation: bool,
    /// `exchange2013`, `exchange2016`, `exchange2019` or `exchange-se`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exchange_version: Option<ExchangeVersion>,
    /// The tenant of Exchange Online, where it is not the organization's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    /// The application that the tenant of Exchange Online has granted its mailboxes to, or that Exchange Server trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// The tenant's cloud: `global` (default), `us-government`, `us-government-dod` or `china`.
    #[serde(default)]
    cloud: Cloud,
    /// Folders below the inbox of Exchange that are read besides it, at most 25, such as `Projects/Alpha`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tracked_folders: Vec<String>,
    /// Whose credentials are used: `mailbox` (default), `profile` or `server-to-server`.
    #[serde(default)]
    credentials: CredentialSource,
    /// User name, where the profile's own credentials are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// Password, access token or client secret. Written and never shown.
    #[serde(default, skip_serializing_if = "never_shown")]
    #[schema(write_only)]
    password: Option<String>,
    /// Certificate and private key of the application, as PEM, instead of a client secret. Written and never shown.
    #[serde(default, skip_serializing_if = "never_shown")]
    #[schema(write_only)]
    certificate: Option<String>,
    /// `password` (default) or `xoauth2`; for Exchange Online `client-secret` or `client-certificate`; for Exchange Server
    /// `password`, `ntlm`, `client-secret` or `client-certificate`.
    #[serde(default)]
    authentication: Authentication,
    /// Earlier messages are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process_emails_received_after: Option<DateTime<Utc>>,
    /// Least minutes between two looks into a mailbox, 0 to 1440.
    #[serde(default)]
    minimum_polling_interval_minutes: u16,
    /// Most connections at once, 1 to 300.
    #[serde(default = "connections")]
    maximum_concurrent_connections: u16,
    /// Whether messages are deleted from the server once they are stored.
    #[serde(default)]
    delete_after_processing: bool,
    /// Whether a message that cannot be processed is moved to the folder "Undeliverable", of Exchange Server alone.
    #[serde(default)]
    move_undeliverable: bool,
    /// Longest wait for a connection or a reply, 1 to 100.
    #[serde(default = "timeout")]
    connection_timeout_seconds: u16,
    /// What to do with an email whose fate is unknown: `hold` (default) or `send-again`.
    #[serde(default)]
    unknown_outcome: UnknownOutcome,
    /// What happens when its servers fail, where it is not as the organization has it.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    outages: Option<HoldInput>,
}

const fn connections() -> u16 {
    CONNECTIONS_DEFAULT
}

const fn timeout() -> u16 {
    TIMEOUT_SECONDS_DEFAULT
}

/// A profile, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileView {
    /// Its identifier.
    id: String,
    /// When it was created.
    created_at: DateTime<Utc>,
    /// How often it has been written; a change may be conditional on it, by `If-Match`.
    revision: u64,
    /// Whether a password is stored.
    has_password: bool,
    /// Everything that was given.
    #[serde(flatten)]
    settings: ProfileInput,
}

impl Revised for ProfileView {
    fn revision(&self) -> u64 {
        self.revision
    }
}

impl From<StoredProfile> for ProfileView {
    fn from(stored: StoredProfile) -> Self {
        let StoredProfile { profile, credentials, revision } = stored;
        let profile = profile.into_fields();
        let servers = profile.servers;
        let incoming = |profile::IncomingServer { protocol, location }| {
            let profile::ServerLocation { host, port, security } = location;
            IncomingInput { protocol: protocol.into(), host, port, security: security.into() }
        };
        let outgoing =
            |profile::ServerLocation { host, port, security }| OutgoingInput { host, port, security: security.into() };
        Self {
            id: profile.id.to_string(),
            created_at: profile.created_at,
            revision,
            has_password: credentials.is_some(),
            settings: ProfileInput {
                name: profile.name,
                owner_address: profile.owner_address.as_str().to_owned(),
                server_type: servers.server_type.into(),
                incoming: servers.incoming.map(incoming),
                outgoing: servers.outgoing.map(outgoing),
                autodiscover: servers.autodiscover,
                location: servers.location,
                use_impersonation: servers.use_impersonation,
                exchange_version: servers.exchange_version.map(Into::into),
                tenant_id: servers.tenant_id,
                client_id: servers.client_id,
                cloud: servers.cloud.into(),
                tracked_folders: servers.tracked_folders,
                credentials: profile.credentials.into(),
                username: profile.username,
                password: None,
                certificate: None,
                authentication: profile.authentication.into(),
                process_emails_received_after: profile.process_emails_received_after,
                minimum_polling_interval_minutes: profile.minimum_polling_interval_minutes,
                maximum_concurrent_connections: profile.maximum_concurrent_connections,
                delete_after_processing: profile.delete_after_processing,
                move_undeliverable: servers.move_undeliverable,
                connection_timeout_seconds: profile.connection_timeout_seconds,
                unknown_outcome: profile.unknown_outcome.into(),
                outages: profile.hold.map(Into::into),
            },
        }
    }
}

impl ProfileInput {
    /// The profile, and the secret that it signs in with if one was given.
    fn into_parts(
        self,
        id: ProfileId,
        created_at: DateTime<Utc>,
    ) -> Result<(profile::EmailServerProfile<profile::ServerFields>, Option<ProfileSecret>), Invalid> {
        self.check_certificate()?;
        let location =
            |host, port, security: Security| profile::ServerLocation { host, port, security: security.into() };
        let incoming = |input: IncomingInput| profile::IncomingServer {
            protocol: input.protocol.into(),
            location: location(input.host, input.port, input.security),
        };
        let password = self.password.map(|password| ProfileSecret::Password(Secret::new(password)));
        let secret = password.or(self.certificate.map(|pem| ProfileSecret::Certificate(Secret::new(pem))));
        let servers = profile::ServerFields {
            server_type: self.server_type.into(),
            incoming: self.incoming.map(incoming),
            outgoing: self.outgoing.map(|input| location(input.host, input.port, input.security)),
            autodiscover: self.autodiscover,
            location: self.location,
            use_impersonation: self.use_impersonation,
            exchange_version: self.exchange_version.map(Into::into),
            tenant_id: self.tenant_id,
            client_id: self.client_id,
            cloud: self.cloud.into(),
            tracked_folders: self.tracked_folders,
            move_undeliverable: self.move_undeliverable,
        };
        let profile = profile::EmailServerProfile {
            id,
            name: self.name,
            owner_address: parse_address("owner_address", &self.owner_address)?,
            servers,
            credentials: self.credentials.into(),
            username: self.username,
            authentication: self.authentication.into(),
            process_emails_received_after: self.process_emails_received_after,
            minimum_polling_interval_minutes: self.minimum_polling_interval_minutes,
            maximum_concurrent_connections: self.maximum_concurrent_connections,
            delete_after_processing: self.delete_after_processing,
            connection_timeout_seconds: self.connection_timeout_seconds,
            unknown_outcome: self.unknown_outcome.into(),
            hold: self.outages.map(Into::into),
            created_at,
        };
        Ok((profile, secret))
    }

    /// Checks the application's certificate, which is given where it is used, and instead of a secret.
    fn check_certificate(&self) -> Result<(), Invalid> {
        let Some(pem) = &self.certificate else {
            return Ok(());
        };
        let remedy =
            "Give the certificate and its RSA private key as PEM, and set authentication to client-certificate";
        if self.authentication != Authentication::ClientCertificate || self.password.is_some() {
            return Err(Invalid::new("certificate", "it is not what the application signs in with", remedy));
        }
        if pem.len() > CERTIFICATE_BYTES_MAX || !is_client_certificate(pem) {
            return Err(Invalid::new("certificate", "it cannot be used", remedy));
        }
        Ok(())
    }
}

/// An address in a field of that name.
pub(crate) fn parse_address(field: &str, address: &str) -> Result<EmailAddress, Invalid> {
    EmailAddress::parse(address).map_err(|invalid| Invalid { field: field.to_owned(), ..invalid })
}

async fn create_profile<P: Ports>(app: &App<P>, by: &By, input: ProfileInput) -> Result<StoredProfile, Problem> {
    let (profile, secret) = input.into_parts(ProfileId::parse((by.new_id)())?, (app.engine.clock)())?;
    Ok(app.engine.create_profile(by, profile, secret).await?)
}

/// Lists profiles.
#[utoipa::path(get, path = "/v1/profiles", params(PageQuery), responses((status = 200, body = Listing<ProfileView>), (status = 401, body = Problem)))]
pub(crate) async fn list<P: Ports>(
    State(app): State<App<P>>,
    Parameters(page): Parameters<PageQuery>,
) -> Result<Json<Listing<ProfileView>>, Problem> {
    Ok(Json(Listing::of(app.engine.list_profiles(&page.request()?).await?, ProfileView::from)))
}

/// Creates a profile.
#[utoipa::path(post, path = "/v1/profiles", request_body = ProfileInput, responses((status = 201, body = ProfileView), (status = 422, body = Problem)))]
pub(crate) async fn create<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Body(input): Body<ProfileInput>,
) -> Result<(StatusCode, Tagged<ProfileView>), Problem> {
    Ok((StatusCode::CREATED, Tagged(create_profile(&app, &by, input).await?.into())))
}

/// Imports profiles from CSV (`text/csv`) or JSON lines (`application/jsonl`).
#[utoipa::path(post, path = "/v1/profiles/import", request_body(content = String, content_type = "text/csv"), responses((status = 200, body = Imported), (status = 415, body = Problem)))]
pub(crate) async fn import<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    headers: HeaderMap,
    Content(body): Content,
) -> Result<Json<Imported>, Problem> {
    let create = |input| async { create_profile(&app, &by, input).await.map(|_| ()) };
    Ok(Json(import::import(&headers, &body, create).await?))
}

/// Reads a profile.
#[utoipa::path(get, path = "/v1/profiles/{id}", params(("id" = String, Path, description = "Identifier of the profile")), responses((status = 200, body = ProfileView), (status = 404, body = Problem)))]
pub(crate) async fn read<P: Ports>(
    State(app): State<App<P>>,
    Path(id): Path<String>,
) -> Result<Tagged<ProfileView>, Problem> {
    Ok(Tagged(app.engine.find_profile(&id).await?.into()))
}

/// Changes a profile by a merge patch (RFC 7396). Its mailboxes are woken, so that a new interval holds at once.
#[utoipa::path(patch, path = "/v1/profiles/{id}", params(("id" = String, Path, description = "Identifier of the profile")), request_body = ProfileInput, responses((status = 200, body = ProfileView), (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Tagged<ProfileView>, Problem> {
    let before = app.engine.profile_to_change(&id, &expected_revision(&headers)?).await?;
    let (fields, removed) = (names(&patch), removes(&patch, "password"));
    let input = merged(&ProfileView::from(before.clone()).settings, patch)?;
    let (after, secret) = input.into_parts(before.profile.id.clone(), before.profile.created_at)?;
    let secret = SecretChange::requested(secret, removed);
    let change = ProfileChange { before, after, secret, fields };
    Ok(Tagged(app.engine.change_profile(&by, change).await?.into()))
}

/// Deletes a profile that has no mailboxes.
#[utoipa::path(delete, path = "/v1/profiles/{id}", params(("id" = String, Path, description = "Identifier of the profile")), responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn delete<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    app.engine.delete_profile(&by, &id, &expected_revision(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        ServerType::check_values();
        ExchangeVersion::check_values();
        IncomingProtocol::check_values();
        Security::check_values();
        Cloud::check_values();
        Authentication::check_values();
        UnknownOutcome::check_values();
        CredentialSource::check_values();
    }
}
