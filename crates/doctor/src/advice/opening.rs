//! What can be found about what a server with a configuration needs opened.

use super::kinds;

kinds! {
    PORTS = "opening.ports", Ok, exit 0, rank 0,
        "these TCP ports have to be open for the server", "";
    LOOPBACK_ONLY = "opening.loopback-only", Note, exit 0, rank 0,
        "the server listens for this machine only, so that nothing has to be opened", "";
    DATA_ON_CONTROL = "opening.data-on-control", Ok, exit 0, rank 0,
        "data connections arrive on the control port, so that no other port is needed", "";
    DATA_AUTO = "opening.data-auto", Warning, exit 0, rank 1,
        "unprotected data may go to a second port that the system chooses, and nobody can open that one beforehand",
        "behind a router, a firewall or in a container set ftp.data.ports to \"control\", or to one port or a range that you open";
    NAME_UNRESOLVED = "opening.name-unresolved", Failure, exit 3, rank 6,
        "a name that the server is to listen at does not resolve",
        "listen at an address of this machine, or at a port alone: ftp.listen = [\"2121\"]";
    PORT_FREE = "opening.port-free", Ok, exit 0, rank 0,
        "the server can listen there", "";
    SERVER_RUNNING = "opening.server-running", Ok, exit 0, rank 0,
        "the server runs and has its ports", "";
    SERVER_ANSWERS = "opening.server-answers", Note, exit 0, rank 0,
        "a server with this configuration's greeting listens there already, with another state folder",
        "name its state folder, so that it can be asked what it has found out: --state-dir DIR";
    PORT_TAKEN = "opening.port-taken", Failure, exit 3, rank 6,
        "another program listens on a port of the server",
        "see which one (ss -ltnp) and end it, or choose another port";
    PORT_DENIED = "opening.port-denied", Failure, exit 3, rank 6,
        "this user may not listen on a port below 1024",
        "grant the capability CAP_NET_BIND_SERVICE, as the systemd unit does, or choose a port from 1024 on";
    ADDRESS_MISSING = "opening.address-missing", Failure, exit 3, rank 6,
        "no interface of this machine has an address that the server is to listen at",
        "listen at an address of this machine (ip address), or at a port alone";
    BIND_FAILED = "opening.bind-failed", Failure, exit 3, rank 6,
        "the server cannot listen there, for another reason",
        "see what the system says";
    OUTSIDE_OPEN = "opening.outside-open", Ok, exit 0, rank 0,
        "a port can be reached from outside", "";
    OUTSIDE_UNPROVEN = "opening.outside-unproven", Warning, exit 0, rank 4,
        "a port may be reached from outside, and nothing proves it",
        "try it from another network, or name a relay of yours, which tries it from outside: --relay HOST";
    OUTSIDE_CLOSED = "opening.outside-closed", Failure, exit 3, rank 5,
        "a port cannot be reached from outside",
        "forward the port on the router, or use a relay: --relay HOST";
    PUBLIC_ADDRESS_DIFFERS = "opening.public-address-differs", Warning, exit 0, rank 3,
        "the public address that the configuration names is another one than the Internet sees",
        "name the address that the Internet sees, or bring the DNS name up to date: reach.on_change can do that at each change";
    CLOSED_FROM_OUTSIDE = "opening.closed-from-outside", Warning, exit 0, rank 4,
        "a relay could not connect to an address that should lead to a port of the server",
        "open the port in this machine's firewall and in the provider's";
    OUTSIDE_NOT_TESTED = "opening.outside-not-tested", Note, exit 0, rank 0,
        "whether a port can be reached from outside was not tried", "";
    RELAY_REACHED = "opening.relay-reached", Ok, exit 0, rank 0,
        "the relay can be reached and lends an address", "";
    RELAY_REFUSED = "opening.relay-refused", Warning, exit 0, rank 2,
        "the relay cannot be reached, or lends nothing",
        "let this machine connect out to the relay's port; see whether name and password are right (docs/relay.md)";
}
