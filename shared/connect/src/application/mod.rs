//! Applications of Microsoft Entra ID: their tokens, for any of Microsoft's servers.

mod cause;
mod certificate;
mod login;
mod token;

pub use certificate::is_client_certificate;
pub use login::Login;
pub use token::{SignIn, Tokens};
