//! Our values on PostgreSQL's wire.

use std::error::Error;

use bytes::{BufMut as _, Bytes, BytesMut};
use postgres_types::{FromSql, IsNull, ToSql, Type};

use crate::value::Value;

/// The version of `jsonb` on the wire.
const JSONB_VERSION: u8 = 1;

/// A value that does not fit where a statement wants it: a defect, or text that PostgreSQL does
/// not store.
#[derive(Clone, Debug, thiserror::Error)]
enum Unfit {
    #[error("{0} for a parameter of type {1}")]
    Type(&'static str, Type),
    #[error("an integer is out of range for {0}")]
    Range(Type),
    #[error("text with the character U+0000")]
    Nul,
}

/// The type of a parameter in a statement that is not prepared.
pub(super) const fn type_of(value: &Value) -> Type {
    match value {
        // Text takes on the type of what it is compared with; so does nothing.
        Value::Null | Value::Text(_) => Type::TEXT,
        Value::Bool(_) => Type::BOOL,
        Value::I64(_) => Type::INT8,
        Value::Bytes(_) => Type::BYTEA,
        Value::Json(_) => Type::JSONB,
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Bool(value) if *ty == Type::BOOL => out.put_u8(u8::from(*value)),
            Self::I64(value) if *ty == Type::INT8 => out.put_i64(*value),
            Self::I64(value) if *ty == Type::INT4 => {
                out.put_i32(i32::try_from(*value).map_err(|_| Unfit::Range(ty.clone()))?);
            }
            Self::Bytes(bytes) if *ty == Type::BYTEA => out.put_slice(bytes),
            Self::Text(text) | Self::Json(text) => {
                if text.contains('\0') {
                    return Err(Box::new(Unfit::Nul));
                }
                if *ty == Type::JSONB {
                    out.put_u8(JSONB_VERSION);
                } else if !matches!(*ty, Type::TEXT | Type::VARCHAR | Type::NAME | Type::JSON) {
                    return Err(Box::new(Unfit::Type(self.type_name(), ty.clone())));
                }
                out.put_slice(text.as_bytes());
            }
            Self::Bool(_) | Self::I64(_) | Self::Bytes(_) => {
                return Err(Box::new(Unfit::Type(self.type_name(), ty.clone())));
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        // Decided per value.
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *ty {
            Type::BOOL => Self::Bool(bool::from_sql(ty, raw)?),
            Type::INT8 => Self::I64(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::I64(i64::from(i32::from_sql(ty, raw)?)),
            Type::INT2 => Self::I64(i64::from(i16::from_sql(ty, raw)?)),
            Type::BYTEA => Self::Bytes(Bytes::copy_from_slice(raw)),
            Type::JSON => Self::Json(std::str::from_utf8(raw)?.to_owned()),
            Type::JSONB => match raw.split_first() {
                Some((&JSONB_VERSION, text)) => Self::Json(std::str::from_utf8(text)?.to_owned()),
                _ => return Err("jsonb of an unknown version".into()),
            },
            Type::TEXT | Type::VARCHAR | Type::NAME | Type::BPCHAR | Type::UNKNOWN => {
                Self::Text(std::str::from_utf8(raw)?.to_owned())
            }
            // What a function without a result gives.
            Type::VOID => Self::Null,
            _ => return Err(format!("a column of type {ty}").into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
