//! The OpenAPI document.

use serde_json::Value;

/// The OpenAPI 3.1 document of `/api/v1`.
pub fn document() -> Value {
    Value::Null
}
