//! The macro behind the chainable methods of this crate's structs.

/// Writes one chainable method for each named field: it takes the new value and returns `self`.
///
/// `field: Type;` takes the type itself; `field: into Type;` takes anything that converts to it, so
/// an optional field takes both a value and an `Option`.
macro_rules! chainable {
    () => {};
    ($(#[$doc:meta])* $field:ident: into $type:ty; $($rest:tt)*) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: impl Into<$type>) -> Self {
            self.$field = $field.into();
            self
        }

        $crate::builder::chainable! { $($rest)* }
    };
    ($(#[$doc:meta])* $field:ident: $type:ty; $($rest:tt)*) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }

        $crate::builder::chainable! { $($rest)* }
    };
}

pub(crate) use chainable;
