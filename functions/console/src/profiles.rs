//! Email server profiles: create, read, change, delete, import.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use chrono::{DateTime, Utc};
use mailrail_boot::{is_client_certificate, now};
use mailrail_domain::{
    rules::support::{refuse_mailbox, refuse_profile},
    settings::{
        hold::HoldSettings,
        profile::{
            Authentication, CONNECTIONS_DEFAULT, Cloud, EmailServerProfile, ExchangeVersion, IncomingProtocol,
            IncomingServer, Security, ServerLocation, ServerType, TIMEOUT_SECONDS_DEFAULT, UnknownOutcome,
        },
    },
    words::{
        address::EmailAddress,
        audit::{AuditAction, AuditSubject},
        cause::CredentialSource,
        delivery::Delivery,
        id::ProfileId,
        invalid::Invalid,
    },
};
use mailrail_engine::{
    access::profile_owner,
    limits::QUEUE_BATCH,
    ports::{Directory, Job, JobQueue, PageRequest, Ports, Secret, StoredMailbox, StoredProfile, Vault, Wake, Written},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    App,
    auth::Caller,
    body::{Body, Content, Parameters, from_value, merge, names, removes, require_revision},
    import::{self, Imported},
    page::{Listing, PageQuery},
    problem::Problem,
};

/// Longest user name and password (source system: 250), with room for tokens.
pub const CREDENTIAL_BYTES_MAX: usize = 4_096;
/// Longest certificate with its private key, as PEM: of RSA with 4,096 bits they have about 6 kB.
const CERTIFICATE_BYTES_MAX: usize = 16_384;
/// Pages of mailboxes that are looked at, or woken, when their profile changes; the rest follow at their next round.
const WOKEN_PAGES_MAX: usize = 20;
/// Mailboxes of such a page.
const WOKEN_PAGE: usize = 100;

/// A server of incoming email.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IncomingInput {
    /// `imap` or `pop3`.
    #[schema(value_type = String)]
    protocol: IncomingProtocol,
    /// DNS name or IP address.
    host: String,
    /// TCP port.
    port: u16,
    /// `tls` or `starttls`.
    #[schema(value_type = String)]
    security: Security,
}

/// A server of outgoing email.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutgoingInput {
    /// DNS name or IP address.
    host: String,
    /// TCP port.
    port: u16,
    /// `tls` or `starttls`.
    #[schema(value_type = String)]
    security: Security,
}

/// A profile, as it is given.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileInput {
    /// Its name, 1 to 100 characters.
    name: String,
    /// Who is told when a mailbox is disabled.
    owner_address: String,
    /// `internet-mail` (default), `exchange-online` or `exchange-server`.
    #[serde(default)]
    #[schema(value_type = String)]
    server_type: ServerType,
    /// Where incoming email is read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incoming: Option<IncomingInput>,
    /// Where outgoing email is handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[schema(value_type = Option<String>)]
    exchange_version: Option<ExchangeVersion>,
    /// The tenant of Exchange Online, where it is not the organization's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    /// The application that the tenant of Exchange Online has granted its mailboxes to, or that Exchange Server trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// The tenant's cloud: `global` (default), `us-government`, `us-government-dod` or `china`.
    #[serde(default)]
    #[schema(value_type = String)]
    cloud: Cloud,
    /// Folders below the inbox of Exchange that are read besides it, at most 25, such as `Projects/Alpha`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tracked_folders: Vec<String>,
    /// Whose credentials are used: `mailbox` (default), `profile` or `server-to-server`.
    #[serde(default)]
    #[schema(value_type = String)]
    credentials: CredentialSource,
    /// User name, where the profile's own credentials are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// Password, access token or client secret. Written and never shown.
    #[serde(default, skip_serializing)]
    #[schema(write_only)]
    password: Option<String>,
    /// Certificate and private key of the application, as PEM, instead of a client secret. Written and never shown.
    #[serde(default, skip_serializing)]
    #[schema(write_only)]
    certificate: Option<String>,
    /// `password` (default) or `xoauth2`; for Exchange Online `client-secret` or `client-certificate`; for Exchange Server
    /// `password`, `ntlm`, `client-secret` or `client-certificate`.
    #[serde(default)]
    #[schema(value_type = String)]
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
    #[schema(value_type = String)]
    unknown_outcome: UnknownOutcome,
    /// How outages of its servers are borne, where it is not as the organization has it: `hold_after_mailboxes`, 0 to 100,
    /// and `recovery_probe`, `off`, `tell` or `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    outages: Option<HoldSettings>,
}

const fn connections() -> u16 {
    CONNECTIONS_DEFAULT
}

const fn timeout() -> u16 {
    TIMEOUT_SECONDS_DEFAULT
}

/// A profile, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileView {
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

impl From<StoredProfile> for ProfileView {
    fn from(stored: StoredProfile) -> Self {
        let StoredProfile { profile, credentials, revision } = stored;
        let incoming = |IncomingServer { protocol, location }| {
            let ServerLocation { host, port, security } = location;
            IncomingInput { protocol, host, port, security }
        };
        let outgoing = |ServerLocation { host, port, security }| OutgoingInput { host, port, security };
        Self {
            id: profile.id.to_string(),
            created_at: profile.created_at,
            revision,
            has_password: credentials.is_some(),
            settings: ProfileInput {
                name: profile.name,
                owner_address: profile.owner_address.as_str().to_owned(),
                server_type: profile.server_type,
                incoming: profile.incoming.map(incoming),
                outgoing: profile.outgoing.map(outgoing),
                autodiscover: profile.autodiscover,
                location: profile.location,
                use_impersonation: profile.use_impersonation,
                exchange_version: profile.exchange_version,
                tenant_id: profile.tenant_id,
                client_id: profile.client_id,
                cloud: profile.cloud,
                tracked_folders: profile.tracked_folders,
                credentials: profile.credentials,
                username: profile.username,
                password: None,
                certificate: None,
                authentication: profile.authentication,
                process_emails_received_after: profile.process_emails_received_after,
                minimum_polling_interval_minutes: profile.minimum_polling_interval_minutes,
                maximum_concurrent_connections: profile.maximum_concurrent_connections,
                delete_after_processing: profile.delete_after_processing,
                move_undeliverable: profile.move_undeliverable,
                connection_timeout_seconds: profile.connection_timeout_seconds,
                unknown_outcome: profile.unknown_outcome,
                outages: profile.hold,
            },
        }
    }
}

impl ProfileInput {
    /// The profile, once every field is checked, and all of them together.
    async fn checked(
        &self,
        app: &App,
        id: ProfileId,
        created_at: DateTime<Utc>,
    ) -> Result<EmailServerProfile, Problem> {
        let location = |host: &str, port, security| ServerLocation { host: host.to_owned(), port, security };
        let incoming = self.incoming.as_ref();
        let outgoing = self.outgoing.as_ref();
        let organization = app.engine.ports.mailboxes().organization().await?.organization;
        let is_online = self.server_type == ServerType::ExchangeOnline;
        let takes_own = is_online || self.credentials == CredentialSource::ServerToServer;
        let tenant_id = self.tenant_id.clone().or_else(|| organization.tenant_id.clone().filter(|_| takes_own));
        let profile = EmailServerProfile {
            id,
            name: self.name.clone(),
            owner_address: parse_address("owner_address", &self.owner_address)?,
            server_type: self.server_type,
            incoming: incoming
                .map(|i| IncomingServer { protocol: i.protocol, location: location(&i.host, i.port, i.security) }),
            outgoing: outgoing.map(|o| location(&o.host, o.port, o.security)),
            autodiscover: self.autodiscover,
            location: self.location.clone(),
            use_impersonation: self.use_impersonation,
            exchange_version: self.exchange_version,
            tenant_id,
            client_id: self.client_id.clone(),
            cloud: self.cloud,
            tracked_folders: self.tracked_folders.clone(),
            credentials: self.credentials,
            username: self.username.clone(),
            authentication: self.authentication,
            process_emails_received_after: self.process_emails_received_after,
            minimum_polling_interval_minutes: self.minimum_polling_interval_minutes,
            maximum_concurrent_connections: self.maximum_concurrent_connections,
            delete_after_processing: self.delete_after_processing,
            move_undeliverable: self.move_undeliverable,
            connection_timeout_seconds: self.connection_timeout_seconds,
            unknown_outcome: self.unknown_outcome,
            hold: self.outages,
            created_at,
        };
        profile.validate()?;
        refuse_profile(&profile, &organization, app.engine.settings.fips)?;
        check_credential("username", self.username.as_deref())?;
        check_credential("password", self.password.as_deref())?;
        self.check_certificate()?;
        Ok(profile)
    }
}

impl ProfileInput {
    /// Checks the application's certificate, which is given where it is used, and instead of a secret.
    fn check_certificate(&self) -> Result<(), Problem> {
        let Some(pem) = &self.certificate else {
            return Ok(());
        };
        let remedy =
            "Give the certificate and its RSA private key as PEM, and set authentication to client-certificate";
        if self.authentication != Authentication::ClientCertificate || self.password.is_some() {
            return Err(Invalid::new("certificate", "it is not what the application signs in with", remedy).into());
        }
        if pem.len() > CERTIFICATE_BYTES_MAX || !is_client_certificate(pem) {
            return Err(Invalid::new("certificate", "it cannot be used", remedy).into());
        }
        Ok(())
    }

    /// What the profile signs in with, if it was given.
    fn secret(self) -> Option<String> {
        self.password.or(self.certificate)
    }
}

/// An address in a field of that name.
pub fn parse_address(field: &str, address: &str) -> Result<EmailAddress, Problem> {
    let named = |invalid| Invalid { field: field.to_owned(), ..invalid };
    EmailAddress::parse(address).map_err(|invalid| named(invalid).into())
}

/// Checks a user name or password: present if it is given, bounded, on one line. The value is never repeated.
pub fn check_credential(field: &str, value: Option<&str>) -> Result<(), Problem> {
    let fits = |v: &str| !v.is_empty() && v.len() <= CREDENTIAL_BYTES_MAX && !v.contains(['\r', '\n', '\0']);
    if value.is_none_or(fits) {
        return Ok(());
    }
    let remedy = format!("Give 1 to {CREDENTIAL_BYTES_MAX} bytes on one line");
    Err(Invalid::new(field, "the value cannot be used", remedy).into())
}

async fn create_profile(app: &App, caller: &Caller, input: ProfileInput) -> Result<StoredProfile, Problem> {
    let profile = input.checked(app, new_id()?, now()).await?;
    let stored = StoredProfile { credentials: seal(app, &profile.id, input.secret()).await?, profile, revision: 0 };
    put(app, caller, AuditAction::Created, stored, vec![]).await
}

async fn put(
    app: &App,
    caller: &Caller,
    action: AuditAction,
    stored: StoredProfile,
    fields: Vec<String>,
) -> Result<StoredProfile, Problem> {
    let audit = caller.audit(action, AuditSubject::Profile, stored.profile.id.as_str(), fields);
    match app.engine.ports.mailboxes().put_profile(&stored, &audit).await? {
        Written::Done => Ok(StoredProfile { revision: stored.revision + 1, ..stored }),
        Written::AddressTaken(_) | Written::Superseded => Err(Problem::superseded()),
    }
}

async fn seal(
    app: &App,
    id: &ProfileId,
    password: Option<String>,
) -> Result<Option<mailrail_engine::ports::Sealed>, Problem> {
    match password {
        None => Ok(None),
        Some(password) => {
            let secret = Secret::new(password);
            Ok(Some(app.engine.ports.vault().seal(&profile_owner(id), id.as_str(), &secret).await?))
        }
    }
}

fn new_id() -> Result<ProfileId, Problem> {
    Ok(ProfileId::parse(uuid::Uuid::now_v7().to_string())?)
}

/// The profile with this id, or the problem that there is none.
pub async fn find(app: &App, id: &str) -> Result<StoredProfile, Problem> {
    let not_found = || Problem::not_found("email server profile", id);
    let id = ProfileId::parse(id).map_err(|_| not_found())?;
    app.engine.ports.mailboxes().profile(&id).await?.ok_or_else(not_found)
}

/// Lists profiles.
#[utoipa::path(get, path = "/v1/profiles", params(PageQuery), responses((status = 200, body = Listing<ProfileView>), (status = 401, body = Problem)))]
pub async fn list(
    State(app): State<App>,
    Parameters(page): Parameters<PageQuery>,
) -> Result<Json<Listing<ProfileView>>, Problem> {
    let profiles = app.engine.ports.mailboxes().profiles(&page.request()?).await?;
    Ok(Json(Listing::of(profiles, ProfileView::from)))
}

/// Creates a profile.
#[utoipa::path(post, path = "/v1/profiles", request_body = ProfileInput, responses((status = 201, body = ProfileView), (status = 422, body = Problem)))]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(input): Body<ProfileInput>,
) -> Result<(StatusCode, Json<ProfileView>), Problem> {
    Ok((StatusCode::CREATED, Json(create_profile(&app, &caller, input).await?.into())))
}

/// Imports profiles from CSV (`text/csv`) or JSON lines (`application/jsonl`).
#[utoipa::path(post, path = "/v1/profiles/import", request_body(content = String, content_type = "text/csv"), responses((status = 200, body = Imported), (status = 415, body = Problem)))]
pub async fn import(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Content(body): Content,
) -> Result<Json<Imported>, Problem> {
    let create = |value: Value| async { create_profile(&app, &caller, from_value(value)?).await.map(|_| ()) };
    Ok(Json(import::import(&headers, &body, create).await?))
}

/// Reads a profile.
#[utoipa::path(get, path = "/v1/profiles/{id}", responses((status = 200, body = ProfileView), (status = 404, body = Problem)))]
pub async fn read(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ProfileView>, Problem> {
    Ok(Json(find(&app, &id).await?.into()))
}

/// Changes a profile by a merge patch (RFC 7396). Its mailboxes are woken, so that a new interval holds at once.
#[utoipa::path(patch, path = "/v1/profiles/{id}", request_body = ProfileInput, responses((status = 200, body = ProfileView), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Json<ProfileView>, Problem> {
    let before = find(&app, &id).await?;
    require_revision(&headers, before.revision)?;
    let fields = names(&patch);
    let mut settings = serde_json::to_value(ProfileView::from(before.clone()).settings).unwrap_or_default();
    let kept = before.credentials.clone().filter(|_| !removes(&patch, "password"));
    merge(&mut settings, patch);
    let input: ProfileInput = from_value(settings)?;
    let profile = input.checked(&app, before.profile.id.clone(), before.profile.created_at).await?;
    if profile.delete_after_processing && !before.profile.delete_after_processing {
        refuse_if_of_users(&app, &profile).await?;
    }
    let sealed = seal(&app, &profile.id, input.secret()).await?;
    let stored = StoredProfile { credentials: sealed.or(kept), profile, revision: before.revision };
    let stored = put(&app, &caller, AuditAction::Changed, stored, fields).await?;
    if stored.profile.minimum_polling_interval_minutes != before.profile.minimum_polling_interval_minutes {
        wake_mailboxes(&app, &stored.profile.id).await?;
    }
    Ok(Json(stored.into()))
}

/// Refuses to delete email after processing while a user's mailbox is on the profile.
async fn refuse_if_of_users(app: &App, profile: &EmailServerProfile) -> Result<(), Problem> {
    let mut page = PageRequest { limit: WOKEN_PAGE, cursor: None };
    for _ in 0..WOKEN_PAGES_MAX {
        let found = app.engine.ports.mailboxes().mailboxes(Some(&profile.id), &page).await?;
        for stored in found.items {
            let refused = refuse_mailbox(&stored.mailbox, profile);
            refused.map_err(|invalid| Invalid {
                field: "delete_after_processing".to_owned(),
                problem: format!("of the mailbox {}: {}", stored.mailbox.name, invalid.problem),
                ..invalid
            })?;
        }
        page.cursor = found.cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    Ok(())
}

async fn wake_mailboxes(app: &App, id: &ProfileId) -> Result<(), Problem> {
    let delivery = Delivery::IncomingEmail;
    let mut page = PageRequest { limit: WOKEN_PAGE, cursor: None };
    for _ in 0..WOKEN_PAGES_MAX {
        let found = app.engine.ports.mailboxes().mailboxes(Some(id), &page).await?;
        let wake = |stored: StoredMailbox| Job::Wake(Wake { mailbox: stored.mailbox.id, delivery });
        let jobs: Vec<Job> = found.items.into_iter().map(wake).collect();
        for batch in jobs.chunks(QUEUE_BATCH) {
            app.engine.ports.queue().send(batch, 0).await?;
        }
        page.cursor = found.cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    Ok(())
}

/// Deletes a profile that has no mailboxes.
#[utoipa::path(delete, path = "/v1/profiles/{id}", responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let stored = find(&app, &id).await?;
    let page = PageRequest { limit: 1, cursor: None };
    let mailboxes = app.engine.ports.mailboxes().mailboxes(Some(&stored.profile.id), &page).await?;
    if !mailboxes.items.is_empty() {
        let detail = format!("The email server profile {} has mailboxes.", stored.profile.name);
        return Err(Problem::conflict(detail, "Delete its mailboxes, or give them another profile."));
    }
    let audit = caller.audit(AuditAction::Deleted, AuditSubject::Profile, &id, vec![]);
    app.engine.ports.mailboxes().delete_profile(&stored.profile.id, &audit).await?;
    Ok(StatusCode::NO_CONTENT)
}
