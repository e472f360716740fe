//! Formats of text, as API servers check them.
//!
//! Those of custom kinds follow `strfmt` of kube-openapi; those of names follow `apimachinery`.

mod names;
pub(crate) mod quantity;
mod text;

pub(crate) use text::{
    duration_nanoseconds, from_base64, is_date, is_date_time, is_uri, masked, network,
};

/// Name and check of a format.
type Check = (&'static str, fn(&str) -> bool, &'static str);

/// The formats that a schema of a custom kind may name, with their meaning in messages.
pub(crate) const CUSTOM: &[Check] = &[
    ("bsonobjectid", text::is_object_id, "24 hexadecimal digits"),
    ("byte", text::is_base64, "base64"),
    ("cidr", text::is_cidr, "a network such as 10.0.0.0/8"),
    (
        "creditcard",
        text::is_credit_card,
        "the number of a credit card",
    ),
    ("date", text::is_date, "a date such as 2026-01-31"),
    (
        "date-time",
        text::is_date_time,
        "a time such as 2026-01-31T12:00:00Z",
    ),
    (
        "datetime",
        text::is_date_time,
        "a time such as 2026-01-31T12:00:00Z",
    ),
    (
        "duration",
        text::is_duration,
        "a duration such as 5s or 1h30m",
    ),
    ("email", text::is_email, "an e-mail address"),
    ("hexcolor", text::is_hex_color, "a colour such as #ff8800"),
    ("hostname", text::is_hostname, "a host name"),
    ("ipv4", text::is_ipv4, "an IPv4 address"),
    ("ipv6", text::is_ipv6, "an IPv6 address"),
    ("isbn", text::is_isbn, "an ISBN"),
    ("isbn10", text::is_isbn10, "an ISBN of 10 digits"),
    ("isbn13", text::is_isbn13, "an ISBN of 13 digits"),
    ("k8s-long-name", names::is_subdomain, names::SUBDOMAIN),
    ("k8s-short-name", names::is_label, names::LABEL),
    (
        "mac",
        text::is_mac,
        "a MAC address such as 00:00:5e:00:53:01",
    ),
    (
        "rgbcolor",
        text::is_rgb_color,
        "a colour such as rgb(255,136,0)",
    ),
    ("ssn", text::is_ssn, "a social security number"),
    ("uri", text::is_uri, "a URI"),
    ("uuid", text::is_uuid, "a UUID"),
    ("uuid3", text::is_uuid3, "a UUID of version 3"),
    ("uuid4", text::is_uuid4, "a UUID of version 4"),
    ("uuid5", text::is_uuid5, "a UUID of version 5"),
];

/// The formats of Kubernetes' and TKO's own properties. Published schemas do not name them;
/// `constraints.json` and the schemas of TKO do.
pub(crate) const KUBERNETES: &[Check] = &[
    (
        "tko:config-key",
        names::is_config_key,
        "letters, digits, '-', '_' and '.', at most 253",
    ),
    (
        "tko:cron-job-name",
        names::is_cron_job_name,
        "a DNS name of at most 52 characters",
    ),
    ("tko:dns-1035", names::is_label_1035, names::LABEL_1035),
    ("tko:dns-label", names::is_label, names::LABEL),
    ("tko:dns-subdomain", names::is_subdomain, names::SUBDOMAIN),
    (
        "tko:env-name",
        names::is_env_name,
        "printable characters without '='",
    ),
    ("tko:host-name", names::is_host_name, "a DNS name"),
    (
        "tko:id",
        names::is_id,
        "an id: at most 1,024 letters, digits, '_', '.', '-', '/' and ':'",
    ),
    (
        "tko:label-value",
        names::is_label_value,
        "at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    ),
    (
        "tko:path-segment",
        names::is_path_segment,
        "a name without '/' and '%' that is not '.' or '..'",
    ),
    (
        "tko:port-name",
        names::is_port_name,
        "at most 15 lower case letters, digits and '-', with at least one letter",
    ),
    (
        "tko:prefix",
        names::is_prefix,
        "the beginning of a DNS name",
    ),
    (
        "tko:qualified-name",
        names::is_qualified_name,
        "a name such as app or example.com/app, of letters, digits, '-', '_' and '.', at most 63 after the prefix",
    ),
    (
        "tko:quantity",
        quantity::is_quantity,
        "a quantity, such as 2, 500m or 1.5Gi",
    ),
    (
        "tko:quantity-not-negative",
        quantity::is_not_negative,
        "a quantity of at least 0",
    ),
    (
        "tko:resource-name",
        names::is_resource_name,
        "cpu, memory, ephemeral-storage, hugepages-SIZE, or a name with a domain such as example.com/gpu",
    ),
];

/// Returns what a format means, for messages. A format that ends in `?` also allows empty text, which
/// API servers treat as "not set".
pub(crate) fn meaning(format: &str) -> Option<&'static str> {
    let format = format.strip_suffix('?').unwrap_or(format);
    let all = CUSTOM.iter().chain(KUBERNETES);
    let found = all.into_iter().find(|(name, _, _)| *name == format);
    found.map(|(_, _, meaning)| *meaning)
}

/// Returns true if API servers check this format in custom kinds.
pub(crate) fn is_checked(format: &str) -> bool {
    meaning(format).is_some() || matches!(format, "int32" | "int64")
}
