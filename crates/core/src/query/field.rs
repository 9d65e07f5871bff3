//! The table of a resource's filterable and sortable fields.

/// The type of a field: which operands it has and how its column stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    String,
    /// A JSON array of strings.
    StringArray,
    /// An instant: microseconds since 1970 in a `BIGINT`.
    Date,
    /// An integer.
    Number,
    /// One of a few words, stored as text.
    Enum,
    /// A truth value; on the wire an enum of the words `true`, `t`, `yes`, `on`, `1` and their
    /// opposites.
    Boolean,
    /// A JSON document.
    Json,
}

impl FieldKind {
    /// The type's number in error texts.
    pub const fn code(self) -> u8 {
        match self {
            Self::String => 0,
            Self::StringArray => 1,
            Self::Date => 2,
            Self::Number => 3,
            Self::Enum | Self::Boolean => 4,
            Self::Json => 5,
        }
    }
}

/// Whether a column may be `NULL`. Lists page faster over columns that never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// Never.
    Never,
    /// It may be; such rows come last in ascending order.
    Possible,
}

/// How a text is hexadecimal. It is stored in lower case without separators, and filters take it as
/// people and tools write it: in upper case, with colons, hyphens or spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hex {
    /// Octets, for example a digest.
    Octets,
    /// A number in whole octets: leading zero octets are none of it.
    Number,
}

/// A table that holds the elements of arrays, one row each, so that an index finds who has one.
///
/// Its columns are `value` and `value_folded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementTable {
    /// The table.
    pub table: &'static str,
    /// Its column that holds what the field's column holds: whose element it is.
    pub owner: &'static str,
}

/// One field that can be filtered and sorted by.
///
/// Built as a constant: `Field::string("name", "name").folded("name_folded")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in query parameters.
    pub name: &'static str,
    /// Another accepted name, usually that of the JSON member.
    pub alias: Option<&'static str>,
    /// Its column.
    pub column: &'static str,
    /// The column that holds the case-folded text ([`fold`](super::fold)), if there is one.
    pub folded_column: Option<&'static str>,
    /// Its type.
    pub kind: FieldKind,
    /// Whether the column may be `NULL`.
    pub nulls: Nulls,
    /// Where the elements of an array are, if they are not in the column itself; the column then
    /// names their owner.
    pub elements: Option<ElementTable>,
    /// The table that finds texts by three letters in a row, where SQLite has one; PostgreSQL has an
    /// index on the folded column.
    pub search_table: Option<&'static str>,
    /// The column with that text, where it is not the folded column: of an array, the folded elements
    /// one behind the other.
    pub search_column: Option<&'static str>,
    /// The word that nearly every row has. The others have an index of their own.
    pub usual: Option<&'static str>,
    /// Words of clients that stand for stored words, for example a former status name.
    pub words: &'static [(&'static str, &'static str)],
    /// All words that an enum has, where they are fixed. Lists of the reference take any word, and find
    /// nothing by one that there is not.
    pub choices: &'static [&'static str],
    /// Whether and how the text is hexadecimal.
    pub hex: Option<Hex>,
}

impl Field {
    /// A field of any type.
    pub const fn new(name: &'static str, column: &'static str, kind: FieldKind) -> Self {
        Self {
            name,
            alias: None,
            column,
            folded_column: None,
            kind,
            nulls: Nulls::Never,
            words: &[],
            choices: &[],
            hex: None,
            elements: None,
            search_table: None,
            search_column: None,
            usual: None,
        }
    }

    /// A text field.
    pub const fn string(name: &'static str, column: &'static str) -> Self {
        Self::new(name, column, FieldKind::String)
    }

    /// A JSON array of strings.
    pub const fn string_array(name: &'static str, column: &'static str) -> Self {
        Self::new(name, column, FieldKind::StringArray)
    }

    /// An instant.
    pub const fn date(name: &'static str, column: &'static str) -> Self {
        Self::new(name, column, FieldKind::Date)
    }

    /// An integer.
    pub const fn number(name: &'static str, column: &'static str) -> Self {
        Self::new(name, column, FieldKind::Number)
    }

    /// One of a few words.
    pub const fn enumeration(name: &'static str, column: &'static str) -> Self {
        Self::new(name, column, FieldKind::Enum)
    }

    /// A truth value.
    pub const fn boolean(name: &'static str, column: &'static str) -> Self {
        Self::new(name, column, FieldKind::Boolean)
    }

    /// A JSON document.
    pub const fn json(name: &'static str, column: &'static str) -> Self {
        Self::new(name, column, FieldKind::Json)
    }

    /// Also accepted under this name.
    #[must_use]
    pub const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// With a shadow column of the case-folded text, so that text order and the operands that
    /// ignore case can use an index.
    #[must_use]
    pub const fn folded(mut self, column: &'static str) -> Self {
        self.folded_column = Some(column);
        self
    }

    /// With elements in a table of their own, found by index.
    #[must_use]
    pub const fn elements_in(mut self, elements: ElementTable) -> Self {
        self.elements = Some(elements);
        self
    }

    /// With an index of the folded text's trigrams: this table on SQLite, whose rows have the
    /// numbers of the rows that they are about, up to the one that the table `<its name>_end` says.
    #[must_use]
    pub const fn searched_in(mut self, table: &'static str) -> Self {
        self.search_table = Some(table);
        self
    }

    /// The same of an array, whose elements this column holds, folded and one behind the other.
    #[must_use]
    pub const fn elements_searched_in(mut self, column: &'static str, table: &'static str) -> Self {
        self.search_column = Some(column);
        self.searched_in(table)
    }

    /// With a word that nearly every row has, and an index of all other rows.
    #[must_use]
    pub const fn usual(mut self, word: &'static str) -> Self {
        self.usual = Some(word);
        self
    }

    /// The column may be `NULL`.
    #[must_use]
    pub const fn nullable(mut self) -> Self {
        self.nulls = Nulls::Possible;
        self
    }

    /// With these words and no others.
    #[must_use]
    pub const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }

    /// Hexadecimal.
    #[must_use]
    pub const fn hex(mut self, hex: Hex) -> Self {
        self.hex = Some(hex);
        self
    }

    /// With other words for stored words.
    #[must_use]
    pub const fn words(mut self, words: &'static [(&'static str, &'static str)]) -> Self {
        self.words = words;
        self
    }
}

/// The field with this name or alias; names are case-sensitive.
pub fn find_field(fields: &'static [Field], name: &str) -> Option<&'static Field> {
    fields
        .iter()
        .find(|field| field.name == name || field.alias == Some(name))
}
