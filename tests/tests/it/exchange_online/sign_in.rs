//! Signing in as an application.
