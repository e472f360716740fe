//! Terminal dashboard of TKO.
