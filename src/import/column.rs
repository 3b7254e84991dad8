//! What the tables of the formats are made of: the columns that a product's export has, and what becomes of each.

use crate::import::record_field::RecordField;

/// What a column holds, and so what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Host and code in one text, with or without a scheme.
    ShortLink,
    /// A list of further short links that lead to the same destination.
    MoreShortLinks,
    /// The code alone.
    Code,
    /// The short host alone; none: the domain of `--domain`.
    ShortHost,
    /// Host and code once more; they must be those of the other columns.
    RepeatedShortLink,
    /// The destination.
    Destination,
    /// The creation.
    CreatedAt,
    /// The link is not live before this time.
    StartsAt,
    /// The link is not live from this time on.
    ExpiresAt,
    /// The same as a number, milliseconds since the epoch, or as a text.
    ExpiresAtMs,
    /// Where the link leads while it is not live.
    FallbackUrl,
    /// The title.
    Title,
    /// Tags: a text that one of the characters parts, a list of texts, or a list of objects with a `name`. The first
    /// of the characters that stands in the text parts it.
    Tags(&'static [char]),
    /// Whether the link is archived; it answers all the same.
    Archived,
    /// Whether the link is switched off.
    Disabled,
    /// The time since when the link is switched off.
    DisabledSince,
    /// Whether the link forwards the incoming query.
    ForwardsQuery,
    /// `active`, or a state that Waypost does not know.
    Status,
    /// The kind of redirect. Some show a page of their own in place of a redirect.
    RedirectType,
    /// A feature that Waypost lacks: a value refuses the row, unless `--drop` names the column.
    Unsupported,
    /// A field of the record, as `--column` and `--take` say.
    Field(RecordField),
    /// Never taken: counts, ids, addresses, pictures.
    LeftOut,
}

/// A column with a role.
#[derive(Debug)]
pub(super) struct ColumnSpec {
    /// The names that exports give it, the usual one first.
    pub(super) names: &'static [&'static str],
    pub(super) role: Role,
    /// Whether a table without the column is refused.
    pub(super) is_required: bool,
}

pub(super) const fn required(names: &'static [&'static str], role: Role) -> ColumnSpec {
    ColumnSpec { names, role, is_required: true }
}

pub(super) const fn optional(names: &'static [&'static str], role: Role) -> ColumnSpec {
    ColumnSpec { names, role, is_required: false }
}

/// How the times of a format are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeStyle {
    /// Always with an offset from UTC; one without is damaged.
    WithOffset,
    /// By the clock of the server that made the export.
    Local,
    /// With an offset, or by a clock.
    Either,
}

/// Where a JSON export has its items, and what it says about further pages. Each is a path of keys.
#[derive(Debug)]
pub(super) struct JsonEnvelope {
    /// The list of items. Empty: the file is the list. A file that is a list is read so in any case.
    pub(super) items: &'static [&'static str],
    /// The number of items on all pages; empty: the format has none.
    pub(super) total: &'static [&'static str],
    /// The address or token of the next page; empty: the format has none.
    pub(super) next_page: &'static [&'static str],
}

/// How the rows of a file are found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout {
    /// A table with a header line.
    Csv,
    /// A list of objects.
    Json(&'static JsonEnvelope),
    /// `INSERT` statements of a dump of MySQL.
    Sql,
}

/// All that is particular to one format.
#[derive(Debug)]
pub(super) struct FormatSpec {
    pub(super) layout: Layout,
    pub(super) columns: &'static [ColumnSpec],
    /// Columns with the role [`Role::LeftOut`].
    pub(super) left_out: &'static [&'static str],
    pub(super) times: TimeStyle,
    /// What stands in place of the code of the link of the host itself, if the format has such links.
    pub(super) root_code: Option<&'static str>,
}

impl FormatSpec {
    pub(super) fn has_role(&self, role: Role) -> bool {
        self.columns.iter().any(|column| column.role == role)
    }

    /// Whether rows name the host of their link.
    pub(super) fn names_short_hosts(&self) -> bool {
        self.has_role(Role::ShortLink) || self.has_role(Role::RepeatedShortLink) || self.has_role(Role::ShortHost)
    }
}
