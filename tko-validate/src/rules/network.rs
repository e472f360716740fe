//! Functions of Kubernetes for addresses and networks.

use super::fault::RuleFault;
use super::value::{Evaluated, Val};
use crate::formats;
use std::net::IpAddr;

/// Calls a function; `None` if there is no such function.
pub(super) fn function<'a>(name: &str, values: &[Val<'a>]) -> Option<Evaluated<'a>> {
    let [Val::Text(text)] = values else {
        return None;
    };
    let failed = |what: &str| Err(RuleFault::Failed(format!("{text:?} is not {what}")));
    Some(match name {
        "isIP" => Ok(Val::Bool(text.parse::<IpAddr>().is_ok())),
        "ip" => match text.parse() {
            Ok(address) => Ok(Val::Address(address)),
            Err(_) => failed("an IP address"),
        },
        "ip.isCanonical" => Ok(Val::Bool(
            text.parse::<IpAddr>()
                .is_ok_and(|address| address.to_string() == **text),
        )),
        "isCIDR" => Ok(Val::Bool(formats::network(text).is_some())),
        "cidr" => match formats::network(text) {
            Some((address, length)) => Ok(Val::Network(address, length)),
            None => failed("a network"),
        },
        "isURL" => Ok(Val::Bool(formats::is_uri(text))),
        _ => return None,
    })
}

/// Calls a method; `None` if there is no such method.
pub(super) fn method<'a>(name: &str, values: &[Val<'a>]) -> Option<Evaluated<'a>> {
    let address = |value: &Val<'_>| match value {
        Val::Address(address) => Some(*address),
        Val::Text(text) => text.parse::<IpAddr>().ok(),
        _ => None,
    };
    let network = |value: &Val<'_>| match value {
        Val::Network(address, length) => Some((*address, *length)),
        Val::Text(text) => formats::network(text),
        _ => None,
    };
    Some(Ok(match (name, values) {
        ("family", [Val::Address(one)]) => Val::Int(if one.is_ipv4() { 4 } else { 6 }),
        ("isUnspecified", [Val::Address(one)]) => Val::Bool(one.is_unspecified()),
        ("isLoopback", [Val::Address(one)]) => Val::Bool(one.is_loopback()),
        ("prefixLength", [Val::Network(_, length)]) => Val::Int(i64::from(*length)),
        ("ip", [Val::Network(one, _)]) => Val::Address(*one),
        ("masked", [Val::Network(one, length)]) => {
            Val::Network(formats::masked(*one, *length), *length)
        }
        ("containsIP", [Val::Network(one, length), other]) => {
            let inside = address(other)?;
            Val::Bool(
                formats::masked(inside, *length) == formats::masked(*one, *length)
                    && inside.is_ipv4() == one.is_ipv4(),
            )
        }
        ("containsCIDR", [Val::Network(one, length), other]) => {
            let (inside, longer) = network(other)?;
            Val::Bool(
                longer >= *length
                    && inside.is_ipv4() == one.is_ipv4()
                    && formats::masked(inside, *length) == formats::masked(*one, *length),
            )
        }
        _ => return None,
    }))
}
