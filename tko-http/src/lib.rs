//! Serves TKO as JSON over HTTP and as a web dashboard.
