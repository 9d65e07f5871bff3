//! The items of arrays, the members of objects and the variants of enums, handed to serde.

use std::borrow::Cow;

use serde::de::value::{CowStrDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use super::{JsonError, Raw};

pub(super) struct Items<'de> {
    pub(super) items: std::vec::IntoIter<&'de RawValue>,
    pub(super) field: &'static str,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = JsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, JsonError> {
        let field = self.field;
        self.items
            .next()
            .map(|raw| {
                seed.deserialize(Raw {
                    field,
                    ..Raw::new(raw)
                })
            })
            .transpose()
    }
}

pub(super) struct KnownMembers<'de> {
    pub(super) members: std::vec::IntoIter<(&'static str, &'de RawValue)>,
    pub(super) value: Option<(&'static str, &'de RawValue)>,
}

impl<'de> MapAccess<'de> for KnownMembers<'de> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, JsonError> {
        self.value = self.members.next();
        let Some((field, _)) = self.value else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, JsonError> = field.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, JsonError> {
        let (field, raw) = self
            .value
            .take()
            .ok_or_else(|| JsonError("json: value without name".to_owned()))?;
        seed.deserialize(Raw {
            field,
            ..Raw::new(raw)
        })
    }
}

pub(super) struct FreeMembers<'de> {
    pub(super) members: std::vec::IntoIter<(Cow<'de, str>, &'de RawValue)>,
    pub(super) value: Option<&'de RawValue>,
    pub(super) field: &'static str,
}

impl<'de> MapAccess<'de> for FreeMembers<'de> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, JsonError> {
        let Some((name, value)) = self.members.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(MemberName(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, JsonError> {
        let field = self.field;
        let raw = self
            .value
            .take()
            .ok_or_else(|| JsonError("json: value without name".to_owned()))?;
        seed.deserialize(Raw {
            field,
            ..Raw::new(raw)
        })
    }
}

/// The name of a member of a map: text, or the digits of a whole number.
struct MemberName<'de>(Cow<'de, str>);

macro_rules! whole_numbers {
    ($($method:ident $visit:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            let number = self.0.parse().map_err(|_| {
                JsonError("json: member name is no whole number in range".to_owned())
            })?;
            visitor.$visit(number)
        }
    )*};
}

impl<'de> Deserializer<'de> for MemberName<'de> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let name: CowStrDeserializer<'_, JsonError> = self.0.into_deserializer();
        name.deserialize_any(visitor)
    }

    whole_numbers!(
        deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32,
        deserialize_i64 visit_i64, deserialize_u8 visit_u8, deserialize_u16 visit_u16,
        deserialize_u32 visit_u32, deserialize_u64 visit_u64
    );

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        enum_name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let name: CowStrDeserializer<'_, JsonError> = self.0.into_deserializer();
        name.deserialize_enum(enum_name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// An enum written as a string.
pub(super) struct UnitVariant<'de>(pub(super) Cow<'de, str>);

impl<'de> EnumAccess<'de> for UnitVariant<'de> {
    type Error = JsonError;
    type Variant = OnlyUnit;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, OnlyUnit), JsonError> {
        let name: CowStrDeserializer<'_, JsonError> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, OnlyUnit))
    }
}

pub(super) struct OnlyUnit;

impl<'de> VariantAccess<'de> for OnlyUnit {
    type Error = JsonError;

    fn unit_variant(self) -> Result<(), JsonError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        _seed: T,
    ) -> Result<T::Value, JsonError> {
        Err(de::Error::custom("json: unexpected variant"))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        _visitor: V,
    ) -> Result<V::Value, JsonError> {
        Err(de::Error::custom("json: unexpected variant"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, JsonError> {
        Err(de::Error::custom("json: unexpected variant"))
    }
}
