//! UPnP with a router on the loopback interface: SSDP, a description, and services that answer as they are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::tests::{Fake, asked};
use super::super::{Leftover, Mapping};
use super::service::TRIES;
use super::*;

const CONNECTION_1: &str = CONNECTIONS[1];

/// What the router knows and how it behaves.
struct Router {
    service: &'static str,
    external: &'static str,
    /// Whose each outside port is.
    mappings: BTreeMap<u16, (String, String)>,
    /// What `AddPortMapping` and its like answer before they do as asked.
    errors: Vec<u16>,
    pinholes: Vec<u16>,
    /// Actions and their bodies.
    heard: Vec<(String, String)>,
    /// The description instead of the usual one.
    description: Option<String>,
}

/// A router that runs: the SSDP address, and the state that all its parts share.
struct Running {
    ssdp: Fake,
    state: Arc<Mutex<Router>>,
}

impl Router {
    fn new(service: &'static str) -> Self {
        Self {
            service,
            external: "11.9.0.20",
            mappings: BTreeMap::new(),
            errors: Vec::new(),
            pinholes: Vec::new(),
            heard: Vec::new(),
            description: None,
        }
    }

    async fn run(self, host: &str) -> Running {
        let state = Arc::new(Mutex::new(self));
        let location = Running::serve(host, &state).await;
        let ssdp = Fake::answering(host, move |_| vec![location.lock().unwrap().clone().into_bytes()]).await;
        Running { ssdp, state }
    }

    fn describe(&self) -> String {
        let service = self.service;
        self.description.clone().unwrap_or_else(|| {
            format!(
                "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device><serviceList>\
                 <service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>\
                 <controlURL>/L3F</controlURL></service></serviceList><deviceList><device><serviceList><service>\
                 <serviceType>{service}</serviceType><controlURL>/control</controlURL></service></serviceList>\
                 </device></deviceList></device></root>"
            )
        })
    }

    /// Answers one SOAP request: what stands in the answer, or an error.
    fn act(&mut self, action: &str, body: &str) -> Result<String, u16> {
        let argument = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>")).unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        self.heard.push((action.into(), body.into()));
        match action {
            "GetExternalIPAddress" => Ok(format!(
                "<NewExternalIPAddress>{}</NewExternalIPAddress>",
                self.external
            )),
            "GetSpecificPortMappingEntry" => {
                let (client, port) = self
                    .mappings
                    .get(&argument("NewExternalPort").parse().unwrap())
                    .ok_or(714_u16)?;
                Ok(format!(
                    "<NewInternalPort>{port}</NewInternalPort><NewInternalClient>{client}</NewInternalClient>\
                     <NewEnabled>1</NewEnabled>"
                ))
            }
            "AddPortMapping" | "AddAnyPortMapping" => {
                if !self.errors.is_empty() {
                    return Err(self.errors.remove(0));
                }
                let mut port: u16 = argument("NewExternalPort").parse().unwrap();
                if action == "AddAnyPortMapping" {
                    port += 1000;
                }
                let owner = (argument("NewInternalClient"), argument("NewInternalPort"));
                self.mappings.insert(port, owner);
                Ok(format!("<NewReservedPort>{port}</NewReservedPort>"))
            }
            "DeletePortMapping" => {
                let port = argument("NewExternalPort").parse().unwrap();
                self.mappings.remove(&port).map(|_| String::new()).ok_or(714)
            }
            "AddPinhole" => {
                self.pinholes.push(7);
                Ok("<UniqueID>7</UniqueID>".into())
            }
            "UpdatePinhole" | "DeletePinhole" => {
                let id: u16 = argument("UniqueID").parse().unwrap();
                let at = self
                    .pinholes
                    .iter()
                    .position(|known| *known == id)
                    .ok_or(704_u16)?;
                if action == "DeletePinhole" {
                    self.pinholes.remove(at);
                }
                Ok(String::new())
            }
            _ => Err(401),
        }
    }
}

impl Running {
    /// Listens for HTTP; the SSDP answer that leads there.
    async fn serve(host: &str, state: &Arc<Mutex<Router>>) -> Arc<Mutex<String>> {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let location = format!("http://{}/description.xml", listener.local_addr().unwrap());
        let state = state.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                answer(stream, &state).await;
            }
        });
        Arc::new(Mutex::new(search_answer(&location)))
    }

    async fn map(&self, asked: &Asked) -> Result<Mapping, Refusal> {
        let granted = map(asked, self.ssdp.address).await?;
        Ok(Mapping::new(asked.clone(), granted))
    }

    fn heard(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.heard.iter().map(|(action, _)| action.clone()).collect()
    }
}

fn search_answer(location: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: {location}\r\n\r\n"
    )
}

async fn answer(mut stream: TcpStream, state: &Mutex<Router>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    let (head, body) = loop {
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(length > 0, "the request ends too early");
        request.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8(request.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (_, length) = head.split_once("Content-Length: ").unwrap();
            if body.len() == length.lines().next().unwrap().parse::<usize>().unwrap() {
                break (head.to_owned(), body.to_owned());
            }
        }
    };
    let reply = if head.starts_with("GET /description.xml ") {
        Ok(state.lock().unwrap().describe())
    } else {
        let (_, rest) = head.split_once("SOAPAction: \"").unwrap();
        let (service, rest) = rest.split_once('#').unwrap();
        let (action, _) = rest.split_once('"').unwrap();
        assert!(head.starts_with("POST /control "), "{head}");
        assert_eq!(service, state.lock().unwrap().service);
        let acted = state.lock().unwrap().act(action, &body);
        acted.map(|inner| {
            format!(
                "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
                 <u:{action}Response xmlns:u=\"{service}\">{inner}</u:{action}Response></s:Body></s:Envelope>"
            )
        })
    };
    let (status, text) = match reply {
        Ok(text) => ("200 OK", text),
        Err(code) => (
            "500 Internal Server Error",
            format!(
                "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault><detail>\
                 <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>{code}</errorCode></UPnPError>\
                 </detail></s:Fault></s:Body></s:Envelope>"
            ),
        ),
    };
    let reply = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(reply.as_bytes()).await.unwrap();
}

fn owner(client: &str, port: &str) -> (String, String) {
    (client.into(), port.into())
}

#[tokio::test]
async fn a_router_of_the_first_version_maps_renews_and_forgets() {
    let router = Router::new(CONNECTION_1).run("127.0.0.1").await;
    let mut mapping = router.map(&asked("127.0.0.1")).await.unwrap();
    assert_eq!(mapping.outside(), "11.9.0.20:2121".parse().unwrap());
    assert_eq!(mapping.lifetime().unwrap().as_secs(), 7200);
    assert_eq!(
        router.state.lock().unwrap().mappings[&2121],
        owner("127.0.0.1", "2121")
    );
    mapping.renew().await.unwrap();
    mapping.remove().await.unwrap();
    assert!(router.state.lock().unwrap().mappings.is_empty());
    let body = router.state.lock().unwrap().heard[2].1.clone();
    assert!(
        body.contains("<NewPortMappingDescription>pasarela<") && body.contains("<NewLeaseDuration>7200<")
    );
}

#[tokio::test]
async fn a_router_of_the_second_version_chooses_the_port() {
    let router = Router::new(CONNECTION_2).run("127.0.0.1").await;
    let mapping = router.map(&asked("127.0.0.1")).await.unwrap();
    assert_eq!(mapping.outside().port(), 3121);
    mapping.remove().await.unwrap();
    assert!(router.state.lock().unwrap().mappings.is_empty());
    // One that does not know how to choose is asked as the first version is.
    let mut simple = Router::new(CONNECTION_2);
    simple.errors = vec![602];
    let simple = simple.run("127.0.0.1").await;
    assert_eq!(
        simple.map(&asked("127.0.0.1")).await.unwrap().outside().port(),
        2121
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_left_to_its_owner() {
    let mut router = Router::new(CONNECTION_1);
    // One that the router tells of, and one that it only refuses.
    router.mappings.insert(2121, owner("192.168.1.66", "80"));
    router.errors = vec![718];
    let router = router.run("127.0.0.1").await;
    let mapping = router.map(&asked("127.0.0.1")).await.unwrap();
    assert_eq!(mapping.outside().port(), 2123);
    assert_eq!(
        router.state.lock().unwrap().mappings[&2121],
        owner("192.168.1.66", "80")
    );
    let mut full = Router::new(CONNECTION_1);
    full.errors = vec![718; 10];
    let full = full.run("127.0.0.1").await;
    let refused = full.map(&asked("127.0.0.1")).await.unwrap_err();
    assert_eq!(refused, Refusal::PortTaken(2124));
    let tries = full
        .heard()
        .iter()
        .filter(|action| *action == "AddPortMapping")
        .count();
    assert_eq!(tries, usize::from(TRIES));
}

#[tokio::test]
async fn a_router_that_knows_no_leases_maps_until_it_is_told_otherwise() {
    let mut router = Router::new(CONNECTION_1);
    router.errors = vec![725];
    let router = router.run("127.0.0.1").await;
    let mapping = router.map(&asked("127.0.0.1")).await.unwrap();
    assert_eq!(mapping.lifetime(), None);
    assert!(!mapping.leftover().is_over());
}

#[tokio::test]
async fn errors_are_what_the_router_says() {
    for (code, refusal) in [
        (606, Refusal::NotAuthorized),
        (401, Refusal::Unsupported),
        (728, Refusal::NoResources),
        (501, Refusal::upnp(501, "")),
    ] {
        let mut router = Router::new(CONNECTION_1);
        router.errors = vec![code; 10];
        let router = router.run("127.0.0.1").await;
        assert_eq!(router.map(&asked("127.0.0.1")).await.unwrap_err(), refusal);
    }
}

#[tokio::test]
async fn a_router_without_an_address_maps_nothing() {
    for external in ["", "0.0.0.0", "none"] {
        let mut router = Router::new(CONNECTION_1);
        router.external = external;
        let router = router.run("127.0.0.1").await;
        let refused = router.map(&asked("127.0.0.1")).await.unwrap_err();
        assert_eq!((refused, router.heard().len()), (Refusal::NetworkFailure, 1));
    }
}

#[tokio::test]
async fn only_our_own_mapping_is_taken_back() {
    let router = Router::new(CONNECTION_1).run("127.0.0.1").await;
    let mapping = router.map(&asked("127.0.0.1")).await.unwrap();
    let stolen = owner("192.168.1.66", "2121");
    router.state.lock().unwrap().mappings.insert(2121, stolen.clone());
    assert_eq!(mapping.remove().await, Err(Refusal::PortTaken(2121)));
    assert_eq!(router.state.lock().unwrap().mappings[&2121], stolen);
    assert!(!router.heard().contains(&"DeletePortMapping".to_owned()));
}

#[tokio::test]
async fn what_was_written_down_is_taken_back_from_a_router_that_listens_elsewhere_by_now() {
    let router = Router::new(CONNECTION_1).run("127.0.0.1").await;
    let mapping = router.map(&asked("127.0.0.1")).await.unwrap();
    let text = toml::to_string(mapping.leftover()).unwrap();
    // An address of the loopback network that no test listens on.
    let (before, rest) = text.split_once("[how.control]\naddress = \"").unwrap();
    let (_, rest) = rest.split_once('"').unwrap();
    let moved = format!("{before}[how.control]\naddress = \"127.0.0.78:1\"{rest}");
    let leftover: Leftover = toml::from_str(&moved).unwrap();
    leftover.remove().await.unwrap();
    assert!(router.state.lock().unwrap().mappings.is_empty());
}

#[tokio::test]
async fn a_pinhole_is_opened_kept_reopened_and_closed() {
    let router = Router::new(PINHOLES).run("::1").await;
    let asked = asked("::1");
    let mut mapping = router.map(&asked).await.unwrap();
    assert_eq!(mapping.outside(), asked.inside);
    mapping.renew().await.unwrap();
    router.state.lock().unwrap().pinholes.clear();
    mapping.renew().await.unwrap();
    mapping.remove().await.unwrap();
    assert!(router.state.lock().unwrap().pinholes.is_empty());
    assert_eq!(
        router.heard(),
        [
            "AddPinhole",
            "UpdatePinhole",
            "UpdatePinhole",
            "AddPinhole",
            "DeletePinhole"
        ]
    );
    // A router that only translates IPv4 has no pinholes.
    let other = Router::new(CONNECTION_1).run("::1").await;
    assert_eq!(other.map(&asked).await.unwrap_err(), Refusal::NoService);
}

#[tokio::test]
async fn a_description_elsewhere_is_not_fetched_and_a_service_elsewhere_is_not_asked() {
    let elsewhere = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap();
    let location = search_answer(&format!("http://{address}/description.xml"));
    let ssdp = Fake::answering("127.0.0.1", move |_| vec![location.clone().into_bytes()]).await;
    let refused = map(&asked("127.0.0.1"), ssdp.address).await;
    assert_eq!(refused, Err(Refusal::Foreign("127.0.0.2".into())));
    for description in [
        format!(
            "<r><service><serviceType>{CONNECTION_1}</serviceType><controlURL>http://{address}/c</controlURL></service></r>"
        ),
        format!(
            "<r><URLBase>http://{address}/</URLBase><service><serviceType>{CONNECTION_1}</serviceType><controlURL>/c</controlURL></service></r>"
        ),
    ] {
        let mut router = Router::new(CONNECTION_1);
        router.description = Some(description);
        let refused = router
            .run("127.0.0.1")
            .await
            .map(&asked("127.0.0.1"))
            .await
            .unwrap_err();
        assert_eq!(refused, Refusal::Foreign("127.0.0.2".into()));
    }
    let elsewhere = elsewhere.into_std().unwrap();
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn a_description_that_is_no_description_is_refused() {
    for (description, refusal) in [
        ("<r/>".to_owned(), Refusal::NoService),
        ("not found".into(), Refusal::Malformed("no XML")),
        (
            "<!DOCTYPE r [<!ENTITY a \"b\">]><r>&a;</r>".into(),
            Refusal::Malformed("a document type"),
        ),
        ("<a>".repeat(1000), Refusal::Malformed("too deep")),
        (
            " ".repeat(10_000_000),
            Refusal::Malformed("it is longer than 256 KiB"),
        ),
    ] {
        let mut router = Router::new(CONNECTION_1);
        router.description = Some(description);
        let refused = router
            .run("127.0.0.1")
            .await
            .map(&asked("127.0.0.1"))
            .await
            .unwrap_err();
        assert_eq!(refused, refusal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_router_is_given_up_after_a_second() {
    let router = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let start = tokio::time::Instant::now();
    let refused = map(&asked("127.0.0.1"), router.local_addr().unwrap()).await;
    assert_eq!(refused, Err(Refusal::NoAnswer));
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(super::super::tests::waiting(&router), 2, "searched twice");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_answer_is_given_up_after_two_seconds() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = http::Target {
        address: silent.local_addr().unwrap(),
        path: "/".into(),
    };
    let start = tokio::time::Instant::now();
    let refused = http::get("127.0.0.1".parse().unwrap(), &target).await;
    assert_eq!(
        (refused, start.elapsed()),
        (Err(Refusal::NoAnswer), Duration::from_secs(2))
    );
}
