//! Device descriptions and SOAP messages (UPnP Device Architecture 1.1 §2.3, §3.2) in and out of XML. A document type
//! is refused, so that there are no entities to expand.

use std::collections::HashMap;
use std::fmt::Write;

use roxmltree::{Document, Node, ParsingOptions};

use super::super::Refusal;
use super::service::code;

/// The arguments of an answer, by name.
pub(super) type Fields = HashMap<String, String>;

/// More nodes than any router's description has.
const NODES: u32 = 20_000;

/// How deep elements may stand in each other.
const DEPTH: usize = 32;

/// What a description says of services.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// Where relative addresses begin, if not at the description itself (UPnP Device Architecture 1.0).
    pub(super) base: Option<String>,
    /// Type and control address of each service.
    pub(super) services: Vec<(String, String)>,
}

/// All services of a description, those of embedded devices, too.
pub(super) fn services(text: &str) -> Result<Described, Refusal> {
    let document = parse(text)?;
    let named = |name| {
        document
            .descendants()
            .filter(move |node| node.tag_name().name() == name)
    };
    let services = named("service").filter_map(|service| {
        let kind = child(service, "serviceType")?;
        Some((kind, child(service, "controlURL")?))
    });
    Ok(Described {
        base: named("URLBase").next().and_then(text_of),
        services: services.take(64).collect(),
    })
}

/// A request. The values are our own and have nothing in them that XML would take for markup.
pub(super) fn envelope(service: &str, action: &str, arguments: &[(&str, &str)]) -> String {
    let mut inner = String::new();
    for (name, value) in arguments {
        let _ = write!(inner, "<{name}>{value}</{name}>");
    }
    format!(
        "<?xml version=\"1.0\"?>\r\n\
         <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
         <u:{action} xmlns:u=\"{service}\">{inner}</u:{action}></s:Body></s:Envelope>\r\n"
    )
}

/// The answer to an action, or the error in it.
pub(super) fn answer(action: &str, status: u16, text: &str) -> Result<Fields, Refusal> {
    let document = match parse(text) {
        // An error page is no answer of the service: its status says more than its text.
        Err(_) if status != 200 && status != 500 => return Err(Refusal::Code(status)),
        document => document?,
    };
    let named = |name: &str| document.descendants().find(|node| node.tag_name().name() == name);
    if let Some(error) = named("UPnPError") {
        let number = child(error, "errorCode").and_then(|number| number.parse().ok());
        let words = child(error, "errorDescription").unwrap_or_default();
        return Err(match number {
            Some(code::NOT_AUTHORIZED) => Refusal::NotAuthorized,
            Some(code::INVALID_ACTION | code::NOT_IMPLEMENTED) => Refusal::Unsupported,
            Some(number) => Refusal::upnp(number, &words),
            None => Refusal::Malformed("an error without a code"),
        });
    }
    let response = named(&format!("{action}Response")).filter(|_| status == 200);
    let response = response.ok_or(Refusal::Malformed("neither an answer nor an error"))?;
    let fields = response.children().filter(Node::is_element).take(64);
    Ok(fields
        .map(|field| (field.tag_name().name().into(), text_of(field).unwrap_or_default()))
        .collect())
}

fn parse(text: &str) -> Result<Document<'_>, Refusal> {
    if deeper_than(DEPTH, text) {
        return Err(Refusal::Malformed("too deep"));
    }
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES,
        ..ParsingOptions::default()
    };
    // Some routers begin with a blank line, which XML does not allow.
    Document::parse_with_options(text.trim_start(), options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => Refusal::Malformed("a document type"),
        roxmltree::Error::NodesLimitReached => Refusal::Malformed("too many elements"),
        _ => Refusal::Malformed("no XML"),
    })
}

/// Whether elements stand deeper in each other than this. Seen before parsing, by what opens and what closes; what
/// looks like a tag in a comment counts as one.
fn deeper_than(limit: usize, text: &str) -> bool {
    let mut depth = 0_usize;
    text.split('<').skip(1).any(|tag| {
        if tag.starts_with('/') {
            depth = depth.saturating_sub(1);
        } else if !tag.starts_with(['?', '!']) && !tag.split('>').next().unwrap_or("").ends_with('/') {
            depth += 1;
        }
        depth > limit
    })
}

fn child(node: Node<'_, '_>, name: &str) -> Option<String> {
    node.children()
        .find(|node| node.tag_name().name() == name)
        .and_then(text_of)
}

fn text_of(node: Node<'_, '_>) -> Option<String> {
    node.text()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_embedded_devices_are_found() {
        let text = "\n<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">\
            <URLBase> http://192.168.1.1:5000/ </URLBase><device><serviceList><service><serviceType>a</serviceType>\
            <controlURL>/a</controlURL></service></serviceList><deviceList><device><serviceList><service>\
            <serviceType>b</serviceType><controlURL>/b</controlURL></service><service><serviceType>c</serviceType>\
            </service></serviceList></device></deviceList></device></root>";
        let described = services(text).unwrap();
        assert_eq!(described.base.as_deref(), Some("http://192.168.1.1:5000/"));
        let pair = |kind: &str, url: &str| (kind.to_owned(), url.to_owned());
        assert_eq!(described.services, [pair("a", "/a"), pair("b", "/b")]);
    }

    #[test]
    fn an_error_is_its_code_and_its_bounded_words() {
        let fault = |inner: &str| {
            format!(
                "<s:Envelope xmlns:s=\"x\"><s:Body><s:Fault><faultcode>s:Client</faultcode><detail>\
                 <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\">{inner}</UPnPError></detail></s:Fault>\
                 </s:Body></s:Envelope>"
            )
        };
        let error = |inner: &str| answer("AddPortMapping", 500, &fault(inner)).unwrap_err();
        assert_eq!(
            error("<errorCode>718</errorCode><errorDescription>Conflict\u{1b}[31m</errorDescription>"),
            Refusal::Malformed("no XML"),
            "a control character is no XML"
        );
        assert_eq!(
            error("<errorCode>718</errorCode><errorDescription>Conflict\u{85}here</errorDescription>"),
            Refusal::upnp(718, "Conflict here")
        );
        assert_eq!(error("<errorCode>718</errorCode>"), Refusal::upnp(718, ""));
        assert_eq!(error("<errorCode>606</errorCode>"), Refusal::NotAuthorized);
        assert_eq!(error("<errorCode>401</errorCode>"), Refusal::Unsupported);
        assert_eq!(
            error("<errorCode>70000</errorCode>"),
            Refusal::Malformed("an error without a code")
        );
        let long = "x".repeat(5000);
        let words = format!("<errorCode>501</errorCode><errorDescription>{long}</errorDescription>");
        assert_eq!(error(&words), Refusal::upnp(501, &long[..100]));
    }

    #[test]
    fn entities_and_depth_are_refused_before_they_cost_anything() {
        let bomb = "<?xml version=\"1.0\"?><!DOCTYPE r [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\">]>\
            <root><service><serviceType>&b;</serviceType></service></root>";
        assert_eq!(services(bomb), Err(Refusal::Malformed("a document type")));
        let external = "<!DOCTYPE r SYSTEM \"http://169.254.169.254/\"><root/>";
        assert_eq!(services(external), Err(Refusal::Malformed("a document type")));
        let undeclared = "<root><URLBase>&b;</URLBase></root>";
        assert_eq!(services(undeclared), Err(Refusal::Malformed("no XML")));
        let deep = "<a>".repeat(80_000);
        assert_eq!(services(&deep), Err(Refusal::Malformed("too deep")));
        let wide = format!("<r>{}</r>", "<a/>".repeat(60_000));
        assert_eq!(services(&wide), Err(Refusal::Malformed("too many elements")));
    }

    #[test]
    fn what_is_neither_answer_nor_error_is_refused() {
        for text in ["", "<html/>", "{}", "<s:Envelope/>", "<AddPortMappingResponse>"] {
            let refused = answer("AddPortMapping", 200, text);
            assert!(
                matches!(refused, Err(Refusal::Malformed(_))),
                "{text}: {refused:?}"
            );
        }
        assert_eq!(
            answer("AddPortMapping", 404, "Not Found"),
            Err(Refusal::Code(404))
        );
    }

    #[test]
    fn a_request_is_the_action_in_an_envelope() {
        let text = envelope("urn:x:1", "Do", &[("A", "1"), ("B", "")]);
        let document = Document::parse(&text).unwrap();
        let action = document
            .descendants()
            .find(|node| node.tag_name().name() == "Do")
            .unwrap();
        assert_eq!(action.tag_name().namespace(), Some("urn:x:1"));
        assert_eq!(
            (child(action, "A").as_deref(), child(action, "B")),
            (Some("1"), None)
        );
    }

    proptest::proptest! {
        #[test]
        fn no_document_is_too_strange(any: String, text in "(<[/?!]?(a|service|Body|UPnPError|errorCode)[ />]|&#?x?[a9];?|]]>|a){0,40}") {
            for text in [&any, &text] {
                let _ = (services(text), answer("a", 200, text), answer("a", 500, text));
            }
        }
    }
}
