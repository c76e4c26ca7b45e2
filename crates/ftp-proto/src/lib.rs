//! FTP without the network: lines, commands, replies, addresses, listings, the server-PI and the user-PI.
//!
//! Nothing in here reads a clock, opens a socket or waits. The contract of [`server_pi::ServerPi`] and of
//! [`user_pi::UserPi`]: after every
//! `handle_*` call, drain `poll_output` to `None`; call `handle_timeout` when `poll_timeout` has come.

pub mod address;
pub mod ascii;
pub mod codec;
pub mod command;
pub mod listing;
pub mod record;
pub mod reply;
pub mod server_pi;
pub mod time;
pub mod user_pi;
