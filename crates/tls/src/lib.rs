//! Certificates in, rustls streams out.
