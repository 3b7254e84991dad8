//! The exports that are tables, and the dump of YOURLS, which has the same columns.

use crate::import::column::{FormatSpec, Layout, Role, TimeStyle, optional, required};

/// Bitly, "Export CSV" of the web site, and the names of its API.
pub(super) const BITLY: FormatSpec = FormatSpec {
    layout: Layout::Csv,
    columns: &[
        required(&["Bitlink", "link"], Role::ShortLink),
        required(&["Long URL", "long_url"], Role::Destination),
        required(&["Created", "created_at"], Role::CreatedAt),
        optional(&["Title"], Role::Title),
        optional(&["Tags"], Role::Tags(&[','])),
        optional(&["Archived"], Role::Archived),
    ],
    left_out: &["Total Clicks", "Clicks", "Engagements", "Campaign", "Channel", "Group", "Created by", "ID"],
    times: TimeStyle::Either,
    root_code: None,
};

/// Dub, "Export links".
pub(super) const DUB: FormatSpec = FormatSpec {
    layout: Layout::Csv,
    columns: &[
        required(&["Short link"], Role::ShortLink),
        required(&["Destination URL"], Role::Destination),
        required(&["Created at"], Role::CreatedAt),
        optional(&["Tags"], Role::Tags(&[','])),
        optional(&["Archived"], Role::Archived),
    ],
    left_out: &["Clicks", "Leads", "Conversions", "Sales", "Revenue", "Link ID", "Updated at"],
    times: TimeStyle::WithOffset,
    root_code: Some("_root"),
};

/// Shlink's web client, "Export".
pub(super) const SHLINK_WEB: FormatSpec = FormatSpec {
    layout: Layout::Csv,
    columns: &[
        required(&["createdAt"], Role::CreatedAt),
        required(&["shortCode"], Role::Code),
        required(&["longUrl"], Role::Destination),
        optional(&["domain"], Role::ShortHost),
        optional(&["shortUrl"], Role::RepeatedShortLink),
        optional(&["title"], Role::Title),
        optional(&["tags"], Role::Tags(&['|', ','])),
    ],
    left_out: &["visits"],
    times: TimeStyle::WithOffset,
    root_code: None,
};

/// The table that Shlink's own import reads.
pub(super) const SHLINK_IMPORT: FormatSpec = FormatSpec {
    layout: Layout::Csv,
    columns: &[
        required(&["Long URL", "longUrl"], Role::Destination),
        required(&["Short code", "shortCode"], Role::Code),
        optional(&["Domain"], Role::ShortHost),
        optional(&["Title"], Role::Title),
        optional(&["Tags"], Role::Tags(&['|', ','])),
    ],
    left_out: &[],
    times: TimeStyle::Either,
    root_code: None,
};

/// The table of YOURLS, as a plug-in writes it.
pub(super) const YOURLS: FormatSpec = FormatSpec { layout: Layout::Csv, ..YOURLS_SQL };

/// The table of YOURLS, as `mysqldump` writes it.
pub(super) const YOURLS_SQL: FormatSpec = FormatSpec {
    layout: Layout::Sql,
    columns: &[
        required(&["keyword"], Role::Code),
        required(&["url"], Role::Destination),
        required(&["timestamp"], Role::CreatedAt),
        optional(&["title"], Role::Title),
    ],
    left_out: &["ip", "clicks"],
    times: TimeStyle::Local,
    root_code: None,
};

/// Pretty Links for WordPress. Older exports have no `created_at`.
pub(super) const PRETTY_LINKS: FormatSpec = FormatSpec {
    layout: Layout::Csv,
    columns: &[
        required(&["slug"], Role::Code),
        required(&["url"], Role::Destination),
        required(&["created_at"], Role::CreatedAt),
        optional(&["name"], Role::Title),
        optional(&["redirect_type"], Role::RedirectType),
        optional(&["param_forwarding"], Role::ForwardsQuery),
        optional(&["link_categories"], Role::Tags(&[','])),
        optional(&["link_tags"], Role::Tags(&[','])),
    ],
    left_out: &[
        "id",
        "description",
        "group_id",
        "track_me",
        "nofollow",
        "sponsored",
        "param_struct",
        "google_tracking",
        "delay",
        "last_updated_at",
        "keywords",
        "clicks",
        "uniques",
        "link_status",
        "prettypay_link",
    ],
    times: TimeStyle::Local,
    root_code: None,
};

/// ThirstyAffiliates for WordPress.
pub(super) const THIRSTY_AFFILIATES: FormatSpec = FormatSpec {
    layout: Layout::Csv,
    columns: &[
        required(&["Destination URL"], Role::Destination),
        required(&["Slug"], Role::Code),
        optional(&["Link Name"], Role::Title),
        optional(&["Categories"], Role::Tags(&[';'])),
        optional(&["Geolocations Links", "Geolocation Links"], Role::Unsupported),
    ],
    left_out: &["Images", "Autolinker Keywords"],
    times: TimeStyle::Local,
    root_code: None,
};

/// Any table; `--column` names its columns.
pub(super) const ANY_TABLE: FormatSpec =
    FormatSpec { layout: Layout::Csv, columns: &[], left_out: &[], times: TimeStyle::Either, root_code: None };
