//! The keywords of each version of TOSCA: one reader, two tables.

/// The keywords in which versions differ.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Grammar {
    /// The value of `tosca_definitions_version`.
    pub version: &'static str,
    /// The key of a file's namespace.
    pub namespace: &'static str,
    /// The key of an import's path.
    pub import_path: &'static str,
    /// The key of an import's prefix.
    pub import_prefix: &'static str,
    /// The key of the topology.
    pub topology: &'static str,
    /// The key of the bounds on a requirement or capability.
    pub occurrences: &'static str,
    /// The key of the rules that a value must satisfy.
    pub constraints: &'static str,
    /// The prefix of functions.
    pub function_prefix: &'static str,
    /// Additional keys of a file that are read without effect.
    pub skipped: &'static [&'static str],
}

/// TOSCA Simple Profile in YAML 1.3.
pub(crate) static TOSCA_1_3: Grammar = Grammar {
    version: "tosca_simple_yaml_1_3",
    namespace: "namespace",
    import_path: "file",
    import_prefix: "namespace_prefix",
    topology: "topology_template",
    occurrences: "occurrences",
    constraints: "constraints",
    function_prefix: "",
    skipped: &[
        "artifact_types",
        "interface_types",
        "group_types",
        "policy_types",
    ],
};

/// TOSCA 2.0.
pub(crate) static TOSCA_2_0: Grammar = Grammar {
    version: "tosca_2_0",
    namespace: "profile",
    import_path: "url",
    import_prefix: "namespace",
    topology: "service_template",
    occurrences: "count_range",
    constraints: "validation",
    function_prefix: "$",
    skipped: &[
        "artifact_types",
        "interface_types",
        "group_types",
        "policy_types",
    ],
};

impl Grammar {
    /// The table of a version; `None` if the version is not supported.
    pub(crate) fn of(version: &str) -> Option<&'static Self> {
        [&TOSCA_1_3, &TOSCA_2_0]
            .into_iter()
            .find(|grammar| grammar.version == version)
    }

    /// Whether this is TOSCA 2.0.
    pub(crate) fn is_2_0(&self) -> bool {
        self.function_prefix == "$"
    }
}
