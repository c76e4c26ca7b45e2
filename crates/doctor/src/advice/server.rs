//! What can be found about a server that a URL names.

use super::kinds;

kinds! {
    NAME_FOUND = "name.found", Ok, exit 0, rank 0,
        "the host has addresses", "";
    NAME_NOT_FOUND = "name.not-found", Failure, exit 3, rank 50,
        "the host has no address, or none of the wanted family",
        "check the spelling; whoever keeps the name's DNS zone can add an A or AAAA record";

    CONNECT_OPEN = "connect.open", Ok, exit 0, rank 0,
        "the control port accepts connections", "";
    CONNECT_REFUSED = "connect.refused", Failure, exit 3, rank 20,
        "the host refuses connections to the control port",
        "check the port in the URL; on the server, check that the FTP server runs and listens there";
    CONNECT_SILENT = "connect.silent", Failure, exit 3, rank 10,
        "nobody answers on the control port: the host is down, a firewall drops it, or a NAT forwards it nowhere",
        "on the server, check that it runs, then run `pasarela doctor` there: it tells whether a router has to forward the \
         port, or whether a carrier's NAT (CGNAT) makes that impossible";
    CONNECT_UNREACHABLE = "connect.unreachable", Failure, exit 3, rank 30,
        "a router or firewall says that there is no way to the control port",
        "ask whoever runs the device that says so";
    CONNECT_NO_ROUTE = "connect.no-route", Failure, exit 3, rank 40,
        "this machine has no way to any of the host's addresses",
        "check this machine's network; a host with IPv6 addresses alone needs IPv6 here";
    CONNECT_HAIRPIN = "connect.hairpin", Failure, exit 3, rank 70,
        "the address is this network's own public one, and its router does not send connections from inside back in",
        "from inside use the server's own LAN address; or switch on NAT loopback (hairpin NAT) in the router, or let the \
         local DNS give the LAN address; from outside it may work";
    CONNECT_CLIENT_FIREWALL = "connect.client-firewall", Failure, exit 3, rank 60,
        "a firewall at this end does not let the control port out",
        "ask whoever runs this network to let the port out, or try another network; ftps:// on port 990 may be allowed";
    CONNECT_SERVER_FIREWALL = "connect.server-firewall", Failure, exit 3, rank 40,
        "the host answers on other ports, and not on the control port: a firewall at its end drops it, or its router does not \
         forward it",
        "on the server's firewall let the port in, and on its router forward it";
    CONNECT_IPV6_FIREWALL = "connect.ipv6-firewall", Failure, exit 3, rank 50,
        "IPv6 packets get to the server's network and are not answered: its router's firewall is the usual cause",
        "on the server's router, let the port in for the server's IPv6 address; IPv6 needs no forwarding, but a permission";
    CONNECT_PRIVATE = "connect.private-address", Failure, exit 3, rank 60,
        "the host's address is private or shared, so that it is reachable inside its own network alone",
        "use the server's public name or address; its operator finds it with `pasarela doctor` on the server";

    FAMILIES_WORK = "families.work", Ok, exit 0, rank 0,
        "IPv4 and IPv6 both work", "";
    FAMILIES_IPV6 = "families.ipv6-fails", Warning, exit 0, rank 30,
        "the host has an IPv6 address that does not work, while IPv4 does",
        "let the ports in for IPv6 in the server's firewall, or take the AAAA record away; until then use -4";
    FAMILIES_IPV4 = "families.ipv4-fails", Warning, exit 0, rank 30,
        "the host has an IPv4 address that does not work, while IPv6 does",
        "let the ports in for IPv4, or take the A record away; until then use -6";
    FAMILIES_NOT_HERE = "families.not-here", Note, exit 0, rank 0,
        "the host has addresses of a family that this machine has no way out by", "";

    GREETING_HEARD = "greeting.heard", Ok, exit 0, rank 0,
        "the server greets", "";
    GREETING_SILENT = "greeting.silent", Failure, exit 3, rank 20,
        "the port accepts connections, and then nothing comes",
        "check that the port is that of an FTP server; something in between may accept connections for a server that is \
         down or overloaded";
    GREETING_CLOSED = "greeting.closed", Failure, exit 3, rank 20,
        "the port accepts connections and closes them without a word",
        "the server may turn this address away (hosts.deny, a ban, too many connections): its log knows";
    GREETING_REFUSED = "greeting.refused", Failure, exit 3, rank 30,
        "the server greets with a refusal",
        "the reply says why; too many connections pass, a ban is lifted by the server's operator";
    GREETING_NOT_FTP = "greeting.not-ftp", Failure, exit 3, rank 40,
        "something that is no FTP server answers on the port",
        "check the port in the URL";
    GREETING_TLS = "greeting.speaks-tls", Failure, exit 5, rank 50,
        "the port speaks TLS from the first byte",
        "use ftps:// instead";
    CONTROL_LOST = "control.lost", Failure, exit 3, rank 10,
        "the control connection broke in the middle of the examination",
        "the server's log knows why; something in between that reads along may have cut it";

    TLS_WORKS = "tls.works", Ok, exit 0, rank 0,
        "the control connection is protected", "";
    TLS_NONE = "tls.none", Warning, exit 0, rank 10,
        "the server has no TLS: passwords and files can be read and changed on the way",
        "switch TLS on in the server; a free certificate or a self-signed one both do";
    TLS_REFUSED = "tls.refused", Failure, exit 5, rank 20,
        "the server refuses TLS, and the URL asks for it",
        "switch TLS on in the server; ftp:// goes without where the server has none";
    TLS_STRIPPED = "tls.stripped", Failure, exit 5, rank 60,
        "the server had TLS before and refuses it now: somebody on the way may have taken it away",
        "ask the server's operator; until then use no password here";
    TLS_TAMPERED = "tls.tampered", Failure, exit 5, rank 80,
        "somebody between here and the server puts bytes into the connection",
        "use another network; an inspecting firewall at one end may be what does it";
    TLS_FAILED = "tls.failed", Failure, exit 5, rank 30,
        "the TLS handshake fails",
        "the server's TLS may be switched on without a usable certificate, or be older than TLS 1.2; its log knows";
    TLS_EXPLICIT = "tls.explicit-only", Failure, exit 5, rank 50,
        "the port greets in clear, and the URL asks for TLS from the first byte",
        "use ftpes:// (AUTH TLS) instead of ftps://";
    TLS_EXPIRED = "tls.expired", Failure, exit 5, rank 60,
        "the server's certificate has expired, and nothing else makes it trusted",
        "renew the certificate on the server";
    TLS_NOT_YET = "tls.not-yet-valid", Failure, exit 5, rank 60,
        "the server's certificate is not valid yet: one of the two clocks is wrong",
        "check this machine's clock, then the server's";
    TLS_OTHER_NAME = "tls.other-name", Failure, exit 5, rank 60,
        "the server's certificate is for other names",
        "use the name that stands in the certificate, or let the server have one for this name";
    TLS_UNTRUSTED = "tls.untrusted", Failure, exit 5, rank 50,
        "no authority that is known here vouches for the server",
        "compare the fingerprint with the operator's, then use --accept-new or --pin; or give the server a certificate of \
         a known authority, with its whole chain";
    TLS_CHANGED = "tls.changed", Failure, exit 5, rank 70,
        "the server shows another key than before, or than the pinned one",
        "ask the operator whether the key was changed; if not, somebody else answers";
    TLS_UNVOUCHED = "tls.unvouched", Note, exit 0, rank 0,
        "no authority vouches for the server; it is trusted by its key",
        "";
    TLS_ENDS_SOON = "tls.ends-soon", Warning, exit 0, rank 20,
        "the server's certificate ends within two weeks, or has ended",
        "renew the certificate on the server; most servers have to be told to read it again";
    TLS_OLD = "tls.old", Note, exit 0, rank 0,
        "the server has no TLS 1.3", "";

    LOGIN_WORKS = "login.works", Ok, exit 0, rank 0,
        "the login is accepted", "";
    LOGIN_REFUSED = "login.refused", Failure, exit 4, rank 20,
        "the login is refused",
        "check the user name and the password; some servers also refuse logins without TLS, or from some addresses";
    LOGIN_WITHHELD = "login.withheld", Failure, exit 5, rank 20,
        "the password was not sent, because it would go out in clear",
        "switch TLS on in the server; --insecure-plaintext sends it all the same";

    FEATURES_LISTED = "features.listed", Ok, exit 0, rank 0,
        "the server says what it can do", "";
    FEATURES_MISSING = "features.missing", Note, exit 0, rank 0,
        "the server lacks something that clients use", "";
    FEATURES_SEES = "features.sees-us-as", Note, exit 0, rank 0,
        "the server tells from which address it sees this machine, and it is another one than here: there is a NAT on the \
         way", "";

    PASSIVE_WORKS = "passive.works", Ok, exit 0, rank 0,
        "a data connection works, from the question to the last byte", "";
    PASSIVE_EPSV_UNKNOWN = "passive.epsv-unknown", Note, exit 0, rank 0,
        "the server does not know EPSV, which IPv6 needs and which has no address that can be wrong", "";
    PASSIVE_EPSV_FAILS = "passive.epsv-fails", Warning, exit 0, rank 20,
        "data connections work by PASV and not by EPSV",
        "a firewall or a load balancer at the server's end reads the control connection and does not know EPSV: give the \
         server a fixed range of passive ports and let that range in";
    PASSIVE_PASV_FAILS = "passive.pasv-fails", Warning, exit 0, rank 20,
        "data connections work by EPSV and not by PASV",
        "let the server's passive ports in at its firewall or router, and let the server announce its public address";
    PASSIVE_ADDRESS_PRIVATE = "passive.address-private", Warning, exit 0, rank 60,
        "the server announces a private address (227): it is behind a NAT and does not know its public one",
        "set the server's public address for passive mode (vsftpd: pasv_address, ProFTPD: MasqueradeAddress, Pure-FTPd: -P, \
         Pasarela: --public-address); until then only clients that ignore the announced address get through";
    PASSIVE_ADDRESS_SHARED = "passive.address-shared", Warning, exit 0, rank 65,
        "the server announces an address from 100.64.0.0/10 (227): it is behind a carrier's NAT (CGNAT) or in an overlay \
         network",
        "behind a carrier's NAT nothing can be forwarded: ask the provider for a public address, use IPv6, or a relay";
    PASSIVE_ADDRESS_UNSPECIFIED = "passive.address-unspecified", Warning, exit 0, rank 60,
        "the server announces 0.0.0.0 (227)",
        "set the server's public address for passive mode; vsftpd announces 0.0.0.0 also where it listens on IPv6 \
         (listen_ipv6=YES): let one with listen=YES serve IPv4";
    PASSIVE_ADDRESS_LOOPBACK = "passive.address-loopback", Warning, exit 0, rank 60,
        "the server announces a loopback address (227)",
        "set the server's public address for passive mode; its own name leads to 127.0.0.1 there (/etc/hosts)";
    PASSIVE_ADDRESS_OTHER = "passive.address-other", Warning, exit 0, rank 60,
        "the server announces another address (227) than the one that it was reached at",
        "set the server's address for passive mode anew: after a change of its public address, or where it has several, the \
         configured one is wrong";
    PASSIVE_ADDRESS_PUBLIC = "passive.address-public", Note, exit 0, rank 0,
        "the server announces its public address (227) to a client on its own network",
        "";
    PASSIVE_REFUSED = "passive.refused", Failure, exit 6, rank 30,
        "the server refuses passive mode",
        "the reply says why; the server's range of passive ports may be used up or wrong";
    PASSIVE_NOT_FORWARDED = "passive.not-forwarded", Failure, exit 6, rank 60,
        "the server is behind a NAT that does not forward its data ports",
        "give the server a fixed range of passive ports (vsftpd: pasv_min_port and pasv_max_port), forward exactly that range \
         in its router to the same ports, and set its public address for passive mode; a server with one port for all, such \
         as pasarela, needs no range";
    PASSIVE_CLIENT_FIREWALL = "passive.client-firewall", Failure, exit 6, rank 50,
        "a firewall at this end lets out the control port, but not data ports",
        "ask whoever runs this network to let out the server's passive ports, or try another network; a server that has its \
         data connections on the control port, such as pasarela, gets through";
    PASSIVE_SERVER_FIREWALL = "passive.server-firewall", Failure, exit 6, rank 40,
        "a firewall at the server's end lets in the control port, but not data ports",
        "give the server a fixed range of passive ports and let that range in at its firewall (and, behind a router, forward \
         it)";
    PASSIVE_BETWEEN = "passive.blocked-between", Failure, exit 6, rank 50,
        "a firewall between both ends lets the control port through, but not data ports",
        "ask the provider whose routers are named; ports 443 and 990 are let through most often";
    PASSIVE_ALG = "passive.alg", Failure, exit 6, rank 80,
        "a router on the way reads FTP in clear and changes or opens what it reads (an ALG); under TLS it cannot, and data \
         ports are closed",
        "do not count on the router's FTP helper: forward the server's fixed range of passive ports and set its public address \
         for passive mode; then switch the helper off (\"FTP ALG\", nf_conntrack_ftp)";
    PASSIVE_SOURCE = "passive.source-differs", Failure, exit 6, rank 50,
        "the server refuses data connections because they come from another address than the control connection",
        "data and control must take the same way: from inside use the server's LAN address, and check for two uplinks or \
         a proxy";

    RESUMPTION_WORKS = "resumption.works", Ok, exit 0, rank 0,
        "data connections resume the TLS session of the control connection", "";
    RESUMPTION_REQUIRED = "resumption.required", Note, exit 0, rank 0,
        "the server refuses data connections that do not resume the TLS session; clients that cannot do that fail", "";
    RESUMPTION_NONE = "resumption.none", Note, exit 0, rank 0,
        "the server does not resume TLS sessions, so that it cannot tell whose a data connection is", "";
    RESUMPTION_REFUSED = "resumption.refused", Failure, exit 6, rank 60,
        "the server wants the TLS session resumed on data connections and does not give what that takes",
        "update the server, or let it not require resumption (vsftpd: require_ssl_reuse=NO, ProFTPD: TLSOptions \
         NoSessionReuseRequired)";

    TRANSFER_PATH = "transfer.path", Failure, exit 7, rank 10,
        "what the URL names is not there",
        "check the path; it is relative to the folder after login";
    TRANSFER_REFUSED = "transfer.refused", Failure, exit 6, rank 20,
        "the data connection stands, and the server refuses to use it",
        "the reply says why";
    TRANSFER_TLS = "transfer.tls", Failure, exit 5, rank 30,
        "the data connection stands, and its TLS handshake fails",
        "something in between may answer in the server's place, or the server speaks in clear there: its log knows";
    TRANSFER_STALLED = "transfer.stalled", Failure, exit 12, rank 30,
        "the data connection stands, and nothing moves on it",
        "large packets may be lost on the way (MTU, a tunnel or VPN that drops ICMP): try a smaller MTU on one end";
    TRANSFER_CUT = "transfer.cut", Failure, exit 3, rank 20,
        "the data connection breaks before its end",
        "the server's log knows whether it gave up, or the network did";

    SSH_SPEAKS = "ssh.speaks", Ok, exit 0, rank 0,
        "the server speaks SSH", "";
    SSH_NOT_SSH = "ssh.not-ssh", Failure, exit 3, rank 40,
        "something that is no SSH server answers on the port",
        "check the port in the URL; that of SSH is 22";
    SSH_SILENT = "ssh.silent", Failure, exit 3, rank 20,
        "the port accepts connections, and the exchange of keys does not come to its end",
        "something in between may accept connections for a server that is down; or large packets are lost on the way (MTU)";
    SSH_CLOSED = "ssh.closed", Failure, exit 3, rank 20,
        "the server closes the connection before the login",
        "the server may turn this address away (MaxStartups, a ban): its log knows";
    SSH_ALGORITHMS = "ssh.algorithms", Failure, exit 5, rank 30,
        "the exchange of keys fails: there is no algorithm that both ends have and that is safe",
        "update the server's SSH";
    SSH_HOST_KEY_KNOWN = "ssh.host-key-known", Ok, exit 0, rank 0,
        "the server's host key is the known one", "";
    SSH_HOST_KEY_UNKNOWN = "ssh.host-key-unknown", Failure, exit 5, rank 50,
        "the server's host key is not known here",
        "compare it with what the server's operator says, then `pasarela trust add` or --accept-new";
    SSH_HOST_KEY_CHANGED = "ssh.host-key-changed", Failure, exit 5, rank 60,
        "the server shows another host key than before, or than the pinned one",
        "ask the server's operator whether it was renewed; if not, somebody is in between";
    SSH_HOST_KEY_REVOKED = "ssh.host-key-revoked", Failure, exit 5, rank 70,
        "the server shows a host key that has been revoked",
        "tell the server's operator; do not log in";
    SFTP_NONE = "sftp.none", Failure, exit 1, rank 30,
        "the login works, and the server offers no SFTP",
        "its sshd needs a line `Subsystem sftp ...`, and the account the right to use it";
    SFTP_WORKS = "sftp.works", Ok, exit 0, rank 0,
        "the server opens a session of SFTP", "";
    SFTP_CARRIES = "sftp.carries", Ok, exit 0, rank 0,
        "what the URL names can be read", "";
    SFTP_FAILS = "sftp.fails", Failure, exit 3, rank 20,
        "the session works, and what the URL names cannot be read",
        "the server's words say why, and its log more";

    REWRITING_PASSIVE = "rewriting.passive", Warning, exit 0, rank 70,
        "somebody on the way rewrites the address that the server announces in clear (an FTP ALG); under TLS that is \
         impossible",
        "do not count on it: set the server's public address for passive mode and forward its passive ports, then switch the \
         router's FTP helper off (\"FTP ALG\", nf_conntrack_ftp)";
    REWRITING_ACTIVE = "rewriting.active", Note, exit 0, rank 0,
        "somebody on the way rewrites the address of PORT (an FTP ALG): active mode works in clear because of it, and not \
         under TLS", "";

    UPLOAD_WORKS = "upload.works", Ok, exit 0, rank 0,
        "a file of 1 MiB was sent, read back unchanged, and removed", "";
    UPLOAD_REFUSED = "upload.refused", Note, exit 0, rank 0,
        "the server takes no upload from this user here", "";
    UPLOAD_FAILED = "upload.failed", Failure, exit 6, rank 20,
        "an upload began and failed",
        "the server's log knows why";
    UPLOAD_CORRUPT = "upload.corrupt", Failure, exit 10, rank 90,
        "what was read back is not what was sent",
        "something changes files: TYPE A where there should be TYPE I, or an inspecting firewall; TLS keeps the latter out";
    UPLOAD_LEFT = "upload.left-behind", Warning, exit 0, rank 10,
        "the uploaded file could not be removed",
        "remove it on the server";

    IDLE_SURVIVED = "idle.survived", Ok, exit 0, rank 0,
        "the control connection was silent for that long and still works", "";
    IDLE_FORGOTTEN = "idle.forgotten", Warning, exit 0, rank 30,
        "a silent control connection is dropped on the way: a NAT or firewall forgets it",
        "transfers that take longer lose their last reply: keep the control connection busy (pasarela does), or lengthen the \
         device's TCP timeout, which should be two hours (RFC 5382)";
    IDLE_CLOSED = "idle.closed", Note, exit 0, rank 0,
        "the server ends a control connection that is silent for that long", "";

    TIMING_TOLD = "timing.told", Ok, exit 0, rank 0,
        "where the time goes", "";
}
