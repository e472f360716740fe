use super::*;

#[test]
fn base64_is_recognized_and_decoded() {
    for good in ["", "YQ==", "YWI=", "YWJj", "YWJj\nYWJj\r\n"] {
        assert!(is_base64(good), "{good:?}");
    }
    for bad in ["Y", "YQ", "YQ=", "Y===", "YQ==YQ==", "a-_b", "YW Jj", "ä"] {
        assert!(!is_base64(bad), "{bad:?}");
    }
    assert_eq!(from_base64("YWI="), Some(b"ab".to_vec()));
}

#[test]
fn every_format_accepts_what_api_servers_accept() {
    for (check, good, bad) in [
        (is_duration as fn(&str) -> bool, "1h30m", "fast"),
        (is_duration, "-1.5s", "5"),
        (is_duration, "2 days", "1 fortnight"),
        (is_duration, "0", "1h30"),
        (is_email, "a@example.org", "nope"),
        (is_email, "Joe <joe@example.org>", "a@"),
        (is_email, "a@localhost", "a b@c"),
        (is_hostname, "a.example.org", "-_-"),
        (is_hostname, "A1", "a..b"),
        (is_cidr, "10.0.0.0/8", "10.0.0.0"),
        (is_cidr, "fd00::/8", "10.0.0.0/33"),
        (is_mac, "00:00:5e:00:53:01", "00:00:5e:00:53"),
        (is_mac, "0000.5e00.5301", "zz:00:5e:00:53:01"),
        (is_uri, "https://example.org/a?b#c", "example.org"),
        (is_uri, "/path", "https://exa mple.org"),
        (is_uri, "urn:a:b", "https://a/%zz"),
        (is_uuid, "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
        (
            is_uuid4,
            "123e4567-e89b-42d3-a456-426614174000",
            "123e4567-e89b-12d3-a456-426614174000",
        ),
        (is_ipv4, "10.0.0.1", "10.0.0.256"),
        (is_ipv6, "::1", "10.0.0.1"),
        (is_date, "2024-02-29", "2026-02-29"),
        (
            is_date_time,
            "2026-01-31T12:00:00.5+01:00",
            "2026-01-31T12:00:00",
        ),
        (is_date_time, "2026-01-31t12:00:00z", "2026-01-31T24:00:00Z"),
        (is_credit_card, "4111 1111 1111 1111", "4111 1111 1111 1112"),
        (is_isbn, "0-306-40615-2", "0-306-40615-3"),
        (is_isbn, "978-0-306-40615-7", "978-0-306-40615-8"),
        (is_ssn, "111-22-3333", "111-22-333"),
        (is_hex_color, "#ff8800", "#ff88"),
        (is_rgb_color, "rgb(255, 136, 0)", "rgb(256,0,0)"),
        (is_object_id, "507f1f77bcf86cd799439011", "507f"),
    ] {
        assert!(check(good), "{good}");
        assert!(!check(bad), "{bad}");
    }
}

#[test]
fn awkward_text_is_refused_without_a_panic() {
    let checks = crate::formats::CUSTOM
        .iter()
        .chain(crate::formats::KUBERNETES);
    for (name, check, _) in checks {
        for text in [
            "ä", "日本", "\u{0}", "é-é", "-", "+", ".", "%", "@", "<>", "><", "::", "1é", "é1s",
        ] {
            let _ = check(text);
        }
        let _ = (
            name,
            check(&"9".repeat(10_000)),
            check(&"a.".repeat(10_000)),
        );
    }
}

#[test]
fn networks_are_masked() {
    let masked = |text| {
        let (address, length) = network(text).expect("a network");
        masked(address, length).to_string()
    };
    assert_eq!(masked("10.1.2.3/8"), "10.0.0.0");
    assert_eq!(masked("10.1.2.3/0"), "0.0.0.0");
    assert_eq!(masked("fd00:1::1/16"), "fd00::");
}
