//! "An endpoint this peer can connect to", and why not otherwise.
