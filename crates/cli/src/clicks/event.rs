//! A row of a click-event file as its reference JSON.
//!
//! The keys stand in a fixed order without spaces; all values are strings but the time, which is
//! epoch milliseconds, and the price. The price's digits pass through as they stand in the file
//! (`0`, `35.79`, `35.00`): they are checked to be a JSON number, never rounded through a float.

use super::event_time::EventTimes;
use super::{COLUMNS, KEY_COLUMN};
use crate::input::{CsvRow, RowFault};
use crate::render::json_buffer::{ESCAPE_GROWTH, JsonBuffer};
use crate::render::number::is_number;
use crate::render::{RecordColumns, RecordParts, Rendered};

const EVENT_TIME: usize = 0;
const PRICE: usize = 6;

/// All of the reference JSON that isn't a value, and the digits of the longest time.
const FIXED_BYTES: usize = 200;

/// Writes click events' JSON. One lives as long as its file, so nothing is allocated per row.
#[derive(Debug)]
pub struct ClickRenderer {
    json: JsonBuffer,
    times: EventTimes,
    parts: RecordParts,
    /// Whether the event's time is the record's.
    is_stamped: bool,
}

impl ClickRenderer {
    /// A renderer that takes key and timestamp from these columns.
    pub fn new(record: RecordColumns) -> ClickRenderer {
        let names: Vec<String> = COLUMNS.iter().map(|name| (*name).to_owned()).collect();
        let is_stamped = record.timestamp == Some(EVENT_TIME);
        // Its own time is read once, for both.
        let timestamp = record.timestamp.filter(|_| !is_stamped);
        ClickRenderer {
            json: JsonBuffer::default(),
            times: EventTimes::default(),
            parts: RecordParts::new(&names, RecordColumns { timestamp, ..record }),
            is_stamped,
        }
    }

    /// A renderer of the reference form: keyed by user, records stamped with the time of sending.
    pub fn reference() -> ClickRenderer {
        let key = COLUMNS.iter().position(|name| *name == KEY_COLUMN).into_iter().collect();
        ClickRenderer::new(RecordColumns { key, ..RecordColumns::default() })
    }

    /// The row, which has the nine columns, as a record's parts.
    #[inline]
    pub fn render<'a>(&'a mut self, row: &CsvRow<'a>) -> Result<Rendered<'a>, RowFault> {
        let event_time = row.column(EVENT_TIME);
        let Some(event_ms) = self.times.parse(event_time) else {
            return Err(RowFault::value(COLUMNS[EVENT_TIME], event_time, "a point in time"));
        };
        let price = row.column(PRICE);
        if !is_number(price) {
            return Err(RowFault::value(COLUMNS[PRICE], price, "a number as JSON writes it"));
        }
        if row.is_plain() {
            self.json.begin(FIXED_BYTES + row.row_bytes());
            self.write::<false>(row);
        } else {
            self.json.begin(FIXED_BYTES + row.row_bytes() * ESCAPE_GROWTH);
            self.write::<true>(row);
        }
        let rendered = self.parts.record(row, self.json.written())?;
        let own = self.is_stamped.then_some(event_ms);
        Ok(Rendered { timestamp_ms: own.or(rendered.timestamp_ms), ..rendered })
    }

    #[inline(always)]
    fn write<const ESCAPE: bool>(&mut self, row: &CsvRow<'_>) {
        let json = &mut self.json;
        let value = |json: &mut JsonBuffer, index: usize| {
            if ESCAPE {
                json.escaped(row.column(index));
            } else {
                json.span(row.padded(), row.columns()[index]);
            }
        };
        json.literal(b"{\"eventTime\":");
        json.raw(self.times.digits());
        json.literal(b",\"eventType\":\"");
        value(json, 1);
        json.literal(b"\",\"productId\":\"");
        value(json, 2);
        json.literal(b"\",\"categoryId\":\"");
        value(json, 3);
        json.literal(b"\",\"categoryCode\":\"");
        value(json, 4);
        json.literal(b"\",\"brand\":\"");
        value(json, 5);
        json.literal(b"\",\"price\":");
        value(json, PRICE);
        json.literal(b",\"userid\":\"");
        value(json, 7);
        json.literal(b"\",\"userSession\":\"");
        value(json, 8);
        json.literal(b"\"}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{ChunkReader, CsvRows, ROW_BYTES_MAX_DEFAULT};
    use proptest::prelude::*;

    fn render(text: &str, renderer: &mut ClickRenderer) -> Vec<Result<(String, String), String>> {
        let text = format!("{}\n{text}", COLUMNS.join(","));
        let mut rows =
            CsvRows::open(ChunkReader::new(text.as_bytes(), ROW_BYTES_MAX_DEFAULT), b',')
                .unwrap()
                .unwrap();
        let mut seen = vec![];
        while let Some(row) = rows.next_row().unwrap() {
            seen.push(renderer.render(&row).map_err(|fault| fault.to_string()).map(|rendered| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                (rendered.key.map(text).unwrap_or_default(), text(rendered.value))
            }));
        }
        seen
    }

    #[test]
    fn the_reference_row_becomes_the_reference_json() {
        let row = "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,\
                   541312140,72d76fde-8bb3-4e00-8c23-a032dfed738c";
        let json = "{\"eventTime\":1569888000000,\"eventType\":\"view\",\"productId\":\"44600062\",\
                    \"categoryId\":\"2103807459595387724\",\"categoryCode\":\"\",\
                    \"brand\":\"shiseido\",\"price\":35.79,\"userid\":\"541312140\",\
                    \"userSession\":\"72d76fde-8bb3-4e00-8c23-a032dfed738c\"}";
        let seen = render(row, &mut ClickRenderer::reference());
        assert_eq!(seen, [Ok(("541312140".to_owned(), json.to_owned()))]);
    }

    #[test]
    fn prices_pass_digit_by_digit_and_must_be_numbers() {
        for price in ["0", "1081.98", "35.00", "0.5", "-1"] {
            let row = format!("2019-10-01 00:00:00 UTC,view,1,2,,,{price},3,");
            let seen = render(&row, &mut ClickRenderer::reference());
            assert!(seen[0].as_ref().unwrap().1.contains(&format!("\"price\":{price},")));
        }
        for price in ["", ".5", "5.", "1 000", "NaN", "12,5", "05.10"] {
            let row = format!("2019-10-01 00:00:00 UTC,view,1,2,,,\"{price}\",3,");
            let seen = render(&row, &mut ClickRenderer::reference());
            assert_eq!(
                seen[0].as_ref().unwrap_err(),
                &format!(
                    "holds \"{price}\" in column price, which isn't a number as JSON writes it"
                )
            );
        }
    }

    #[test]
    fn an_empty_user_gives_no_key_and_a_bad_time_is_named() {
        let mut renderer = ClickRenderer::reference();
        let seen = render("2019-10-01 00:00:00 UTC,view,1,2,,,3,,", &mut renderer);
        assert_eq!(seen[0].as_ref().unwrap().0, "");
        let seen = render("2019-10-41 00:00:00 UTC,view,1,2,,,3,,", &mut renderer);
        assert_eq!(
            seen[0].as_ref().unwrap_err(),
            "holds \"2019-10-41 00:00:00 UTC\" in column event_time, which isn't a point in time"
        );
    }

    fn quoted(text: &str) -> String {
        format!("\"{}\"", text.replace('"', "\"\""))
    }

    proptest! {
        #[test]
        fn any_text_comes_back_out_of_the_json(
            rows in prop::collection::vec(
                prop::collection::vec("\\PC{0,40}|[\\x00-\\x7f]{0,5}|[a-z0-9]{0,70}", 7),
                1..10
            )
        ) {
            let lines: Vec<String> = rows.iter().map(|row| {
                let text: Vec<String> = row.iter().map(|text| quoted(text)).collect();
                let (before_price, after_price) = (text[..5].join(","), text[5..].join(","));
                format!("2019-10-01 00:00:00 UTC,{before_price},7.10,{after_price}")
            }).collect();
            let seen = render(&lines.join("\n"), &mut ClickRenderer::reference());
            prop_assert_eq!(seen.len(), rows.len());
            for (row, seen) in rows.iter().zip(&seen) {
                let (key, json) = seen.as_ref().unwrap();
                let value: serde_json::Value = serde_json::from_str(json).unwrap();
                let names = [
                    "eventType", "productId", "categoryId", "categoryCode", "brand", "userid",
                    "userSession",
                ];
                for (name, text) in names.iter().zip(row) {
                    prop_assert_eq!(value[name].as_str(), Some(text.as_str()));
                }
                prop_assert_eq!(key, &row[5]);
            }
        }
    }
}
