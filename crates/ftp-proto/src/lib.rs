//! FTP without the network.
