//! Reasons why a function failed, worded for the person who reads the condition.

use crate::results::FunctionResult;

/// Reason why a function failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionFailure {
    /// The function's configuration is missing or wrong.
    #[error("the functionConfig of {function} is wrong: {problem}")]
    Config {
        /// The function, as it is named in the pipeline or plugin.
        function: String,
        /// A clause that says what is wrong, and what is expected.
        problem: String,
    },
    /// The function reported results of severity error.
    #[error("function {function} reported: {}", joined(.results))]
    Reported {
        /// The function's name in the pipeline or plugin.
        function: String,
        /// The results of severity error; at least one.
        results: Vec<FunctionResult>,
    },
    /// The output is not a `ResourceList`, or its items are not resources.
    #[error("the output of function {function} is invalid: {problem}")]
    Output {
        /// The function's name in the pipeline or plugin.
        function: String,
        /// A clause that says what is wrong.
        problem: String,
    },
    /// The function exceeded a limit, or got no slot for WebAssembly in time and was not called.
    #[error("function {function} {problem}")]
    Limit {
        /// The function's name in the pipeline or plugin.
        function: String,
        /// A clause: which limit, and what to do.
        problem: String,
    },
    /// The function is not available here.
    #[error("function {function} cannot run: {problem}")]
    Unavailable {
        /// The function's name in the pipeline or plugin.
        function: String,
        /// A clause: the missing part, and the remedy.
        problem: String,
    },
    /// The program of the function failed.
    #[error("function {function} failed")]
    Program {
        /// The function's name in the pipeline or plugin.
        function: String,
        /// The failure of the program.
        source: tko_plugin::Failure,
    },
    /// The function itself failed, such as by a trap of its WebAssembly code.
    #[error("function {function} failed: {problem}")]
    Crashed {
        /// The function's name in the pipeline or plugin.
        function: String,
        /// The message of the failure, such as that of the trap.
        problem: String,
    },
}

/// Maximum number of results that a message lists.
const SHOWN: usize = 10;

fn joined(results: &[FunctionResult]) -> String {
    let mut texts: Vec<String> = results
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    if results.len() > SHOWN {
        texts.push(format!("and {} more", results.len() - SHOWN));
    }
    texts.join("; ")
}
