//! Limits on the resources that a service template may use.

/// Limits on an archive and its service template.
///
/// The defaults leave room for 10,000 node templates. Exceeding a limit is a
/// [`Problem`](crate::Problem), like any other mistake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ToscaLimits {
    /// Maximum number of entries in an archive. Default: 10,000.
    pub entries: usize,
    /// Maximum number of bytes of one file, unpacked. Default: 16 MiB.
    pub file_bytes: u64,
    /// Maximum number of bytes of all YAML files together, unpacked. Default: 64 MiB.
    pub total_bytes: u64,
    /// Maximum number of files that one service template imports, directly and indirectly. Default:
    /// 256.
    pub imports: usize,
    /// Maximum number of values in all files, with aliases expanded. The same limit applies to the
    /// properties, capabilities and relationships that types inherit, and to those that node
    /// templates have. It also applies to the values of all properties, and to the items of all
    /// lists and maps with functions. Default: 2,000,000.
    pub values: usize,
    /// Maximum number of levels of lists and maps in one file, with aliases expanded. It also
    /// limits one value of a property, with functions and defaults filled in. Default: 64.
    pub depth: usize,
    /// Maximum number of levels of types above a type. Default: 64.
    pub lineage: usize,
    /// Maximum number of bytes of text that the functions of one service template make. Default: 64
    /// MiB.
    pub function_bytes: usize,
    /// Maximum number of bytes that the compiled patterns of one service template take. Each counts
    /// as at least 64 KiB; equal ones count once. Default: 16 MiB.
    pub pattern_bytes: usize,
    /// Maximum number of steps of searches that a small text can multiply. Such searches are for a
    /// node that satisfies a requirement, names in imported files, keys of large maps, separators
    /// in texts, and functions in values. Comparisons with the values of constraints, fields of
    /// data types and texts that functions join count, too. Default: 50,000,000.
    pub steps: usize,
    /// Maximum number of problems that are reported; more are only counted. Default: 1,000.
    pub problems: usize,
}

impl Default for ToscaLimits {
    fn default() -> Self {
        Self {
            entries: 10_000,
            file_bytes: 16 << 20,
            total_bytes: 64 << 20,
            imports: 256,
            values: 2_000_000,
            depth: 64,
            lineage: 64,
            function_bytes: 64 << 20,
            pattern_bytes: 16 << 20,
            steps: 50_000_000,
            problems: 1_000,
        }
    }
}
