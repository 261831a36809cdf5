//! What a reply says: a success, or a refusal with the server's code and words.

use mailrail_connect::{Failure, Refusal};
use mailrail_domain::words::{
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};

use crate::{
    cause::{IMPERSONATION_CODES, of_refusal},
    xml::Element,
};

/// Least version of Exchange Server that is supported: 2013 with Service Pack 1 ("Exchange Server build numbers").
const VERSION_MIN: (u32, u32, u32) = (15, 0, 847);

/// A refusal from its parts. A refusal that says that the account may not act for the user is reported at the stage of
/// impersonation.
pub(crate) fn refusal(status: u16, code: Option<&str>, words: &str, retry_after_seconds: Option<u32>) -> Refusal {
    let acts = code.is_some_and(|code| IMPERSONATION_CODES.contains(&code));
    Refusal {
        cause: of_refusal(status, code),
        stage: acts.then_some(Stage::Impersonate),
        status,
        code: code.map(str::to_owned),
        words: words.to_owned(),
        retry_after_seconds,
    }
}

/// The refusal in a SOAP fault (EWS, "Handling EWS-related errors in Exchange").
pub(crate) fn of_fault(fault: &Element, status: u16) -> Refusal {
    let detail = fault.child("detail").or_else(|| fault.child("Detail"));
    let code = detail.and_then(|detail| detail.text_at(&["ResponseCode"]));
    // A fault of the layer below has its code only as a qualified name.
    let code = code.or_else(|| fault.text_at(&["faultcode"]).and_then(|code| code.rsplit(':').next()));
    let words = fault.text_at(&["faultstring"]).or_else(|| detail.and_then(|detail| detail.text_at(&["Message"])));
    let words = words.unwrap_or("the server's fault gives no reason");
    refusal(status, code.filter(|code| code.starts_with("Error")), words, detail.and_then(back_off_seconds))
}

/// What a response message says about its part of the request. A warning says that the part was not processed, because
/// the part before it failed (EWS reference, "GetItemResponseMessage").
pub(crate) fn of_message(message: &Element) -> Result<(), Refusal> {
    if message.attribute("ResponseClass") == Some("Success") {
        return Ok(());
    }
    let words = message.text_at(&["MessageText"]).unwrap_or("the reply gives no reason");
    Err(refusal(200, message.text_at(&["ResponseCode"]), words, back_off_seconds(message)))
}

/// How long the server asks us to stay away (EWS, "EWS throttling in Exchange").
fn back_off_seconds(within: &Element) -> Option<u32> {
    let values = within.find("MessageXml")?;
    let back_off = values.all("Value").find(|value| value.attribute("Name") == Some("BackOffMilliseconds"))?;
    let milliseconds: u64 = back_off.text.trim().parse().ok()?;
    u32::try_from(milliseconds.div_ceil(1_000)).ok()
}

/// Refuses a server that is too old, if the reply's header says how old it is.
pub(crate) fn check_version(header: &Element, stage: Stage) -> Result<(), Failure> {
    let Some(info) = header.child("ServerVersionInfo") else {
        return Ok(());
    };
    let number = |name| info.attribute(name).and_then(|number| number.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (number("MajorVersion"), number("MinorVersion")) else {
        return Ok(());
    };
    let version = (major, minor, number("MajorBuildNumber").unwrap_or(u32::MAX));
    if version >= VERSION_MIN {
        return Ok(());
    }
    let name = match (major, minor) {
        (..=6, _) => "Exchange Server 2003",
        (7 | 8, _) => "Exchange Server 2007",
        (14, _) => "Exchange Server 2010",
        _ => "Exchange Server 2013 without Service Pack 1",
    };
    let words = format!(
        "the server is {name} ({major}.{minor}.{}), which is not supported: Exchange Server 2013 SP1 or later is needed",
        version.2
    );
    Err(Failure::Broken(DeliveryError::new(Cause::CapabilityMissing, Evidence::new(stage, &words))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: &str, text: &str, attributes: &[(&str, &str)], children: Vec<Element>) -> Element {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Element { name: name.to_owned(), text: text.to_owned(), attributes, children }
    }

    fn back_off(milliseconds: &str) -> Element {
        let value = element("Value", milliseconds, &[("Name", "BackOffMilliseconds")], vec![]);
        element("MessageXml", "", &[], vec![value])
    }

    #[test]
    fn a_fault_tells_its_code_and_how_long_to_wait() {
        let code = element("ResponseCode", "ErrorServerBusy", &[], vec![]);
        let detail = element("detail", "", &[], vec![code, back_off("297749")]);
        let words = element("faultstring", "The server cannot service this request right now.", &[], vec![]);
        let refusal = of_fault(&element("Fault", "", &[], vec![words, detail]), 500);
        assert_eq!((refusal.code.as_deref(), refusal.retry_after_seconds), (Some("ErrorServerBusy"), Some(298)));
        let error = Failure::Refused(refusal).into_error(Stage::List);
        assert_eq!((error.cause, error.retry_after_seconds), (Cause::ServerBusy, Some(298)));
        let code = element("faultcode", "a:ErrorSchemaValidation", &[], vec![]);
        assert_eq!(
            of_fault(&element("Fault", "", &[], vec![code]), 500).code.as_deref(),
            Some("ErrorSchemaValidation")
        );
        let code = element("faultcode", "s:Client", &[], vec![]);
        assert_eq!(of_fault(&element("Fault", "", &[], vec![code]), 500).code, None);
    }

    #[test]
    fn a_wait_that_is_none_is_passed_over() {
        for (text, seconds) in [("1", Some(1)), ("0", Some(0)), ("-5", None), ("soon", None), ("", None)] {
            assert_eq!(back_off_seconds(&element("x", "", &[], vec![back_off(text)])), seconds, "{text}");
        }
    }

    #[test]
    fn servers_that_are_too_old_are_refused_with_their_names() {
        let header = |major: &str, minor: &str, build: &str| {
            let attributes = [("MajorVersion", major), ("MinorVersion", minor), ("MajorBuildNumber", build)];
            element("Header", "", &[], vec![element("ServerVersionInfo", "", &attributes, vec![])])
        };
        for (major, minor, build, name) in [
            ("6", "5", "7638", "2003"),
            ("8", "3", "83", "2007"),
            ("14", "3", "123", "2010"),
            ("15", "0", "516", "2013"),
        ] {
            let failure = check_version(&header(major, minor, build), Stage::List).unwrap_err();
            let error = failure.into_error(Stage::List);
            assert_eq!(error.cause, Cause::CapabilityMissing);
            assert!(error.evidence.words.contains(name), "{}", error.evidence.words);
        }
        for (major, minor, build) in [("15", "0", "847"), ("15", "1", "225"), ("15", "2", "2562"), ("x", "0", "0")] {
            assert!(check_version(&header(major, minor, build), Stage::List).is_ok());
        }
        assert!(check_version(&element("Header", "", &[], vec![]), Stage::List).is_ok());
    }
}
