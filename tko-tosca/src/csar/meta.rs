//! `TOSCA.meta`: names the service template of an archive.
//!
//! The format is lines of `Name: value`, in blocks that empty lines separate. A line that begins
//! with a space continues the one before. Only the first block describes the archive.

use super::CsarError;

/// The possible paths of the file, in order.
pub(super) const PATHS: [&str; 2] = ["TOSCA-Metadata/TOSCA.meta", "TOSCA.meta"];

/// Supported versions of the archive format.
const VERSIONS: [&str; 2] = ["1.1", "2.0"];

/// The path that `Entry-Definitions` names.
///
/// # Errors
/// - `Meta`: a line without a colon, a key twice, or another version of the format.
/// - `NoEntry`: there is no `Entry-Definitions`, or it leads out of the archive.
pub(super) fn entry_definitions(file: &str, text: &str) -> Result<String, CsarError> {
    let wrong = |line: usize, message: String| CsarError::Meta {
        file: file.to_owned(),
        line: line + 1,
        message,
    };
    let mut pairs: Vec<(usize, &str, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            if pairs.is_empty() {
                continue;
            }
            break;
        }
        if let Some(more) = line.strip_prefix(' ') {
            let Some(last) = pairs.last_mut() else {
                return Err(wrong(
                    number,
                    "the first line begins with a space".to_owned(),
                ));
            };
            last.2.push_str(more);
            continue;
        }
        let Some((key, value)) = line.split_once(':') else {
            return Err(wrong(number, "expected \"Name: value\"".to_owned()));
        };
        if pairs.iter().any(|(_, known, _)| *known == key.trim()) {
            return Err(wrong(number, format!("{} is there twice", key.trim())));
        }
        pairs.push((number, key.trim(), value.trim().to_owned()));
    }
    let find = |name: &str| pairs.iter().find(|(_, key, _)| *key == name);
    let Some((line, _, version)) = find("CSAR-Version") else {
        return Err(wrong(0, "CSAR-Version is missing".to_owned()));
    };
    if !VERSIONS.contains(&version.as_str()) {
        let message = format!("CSAR-Version {version} is not supported: use 1.1 or 2.0");
        return Err(wrong(*line, message));
    }
    // Version 2.0 no longer has it.
    if version == "1.1" {
        match find("TOSCA-Meta-File-Version") {
            Some((_, _, value)) if matches!(value.as_str(), "1.0" | "1.1") => {}
            Some((line, _, value)) => {
                let message = format!("TOSCA-Meta-File-Version {value} is not supported: use 1.0");
                return Err(wrong(*line, message));
            }
            None => return Err(wrong(0, "TOSCA-Meta-File-Version is missing".to_owned())),
        }
    }
    let Some((line, _, entry)) = find("Entry-Definitions") else {
        let message = format!("{file} has no Entry-Definitions: name the service template there");
        return Err(CsarError::NoEntry(message));
    };
    crate::import::resolve("", entry).map_err(|message| wrong(*line, message))
}
