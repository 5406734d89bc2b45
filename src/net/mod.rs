//! The network: the HTTP client that everything outgoing uses, and what the listener needs.

pub mod auth;
mod connection;
pub mod http;
pub mod listener;
pub mod tls_server;
