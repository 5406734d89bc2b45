//! The network: the HTTP client that everything outgoing uses, and what the listener needs.

pub mod http;
