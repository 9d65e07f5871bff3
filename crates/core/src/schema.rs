//! Schemas of wire types whose JSON is written by hand.
//!
//! Types that derive their JSON derive their schema beside it. What stands here is for the others:
//! a text with a grammar of its own, or one of a few words.

/// Gives types that are written as JSON by hand the schema that stands beside them. It stands where
/// the type is used, so that the description of a member takes the place of the type's own.
macro_rules! schemas {
    ($($name:ty: $schema:tt),+ $(,)?) => {$(
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )+};
}

/// Gives types that are one of a few words the schema of these words, under a name of its own.
macro_rules! word_schemas {
    ($($name:ty: $description:literal, $words:expr);+ $(;)?) => {$(
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let words: Vec<&str> = $words.collect();
                schemars::json_schema!({
                    "type": "string",
                    "description": $description,
                    "enum": words,
                })
            }
        }
    )+};
}

pub(crate) use {schemas, word_schemas};
