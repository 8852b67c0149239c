//! Click events: the public data set's nine columns, their reference JSON, and a generator.

pub mod event;
pub mod event_time;
pub mod generate;

pub use event::ClickRenderer;

/// The columns of a click-event file, in order. A header of exactly these is a click-event file's.
pub const COLUMNS: [&str; 9] = [
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
];

/// What the columns are called in a click event's reference form.
pub const FIELDS: [&str; 9] = [
    "eventTime",
    "eventType",
    "productId",
    "categoryId",
    "categoryCode",
    "brand",
    "price",
    "userid",
    "userSession",
];

/// The topic click events go to unless told otherwise.
pub const TOPIC: &str = "ecommerce.events";

/// The column that is a click event's key unless told otherwise.
pub const KEY_COLUMN: &str = "user_id";

/// Whether a header is a click-event file's.
pub fn is_click_header(names: &[String]) -> bool {
    names.iter().map(String::as_str).eq(COLUMNS)
}
