//! Click events out of a seed: the same seed gives the same bytes, on any machine.
//!
//! The shape follows the public data set: users, products and brands are heavily skewed (a rank is
//! drawn evenly over powers of two, which is Zipf's law with exponent one), a third of the rows
//! have no category code and a seventh no brand, rows are in time order with many to a second, a
//! user keeps a session for some events. Only integers are used: floating point functions differ
//! between machines.

use crate::clicks::COLUMNS;
use crate::time::{civil_from_days, days_from_civil};

/// How many products there are; the popular ones come first.
const PRODUCTS: usize = 1 << 16;
/// How many users are about at a time.
const VISITORS: usize = 5000;
/// One row in so many starts a new second.
const ROWS_PER_SECOND: u64 = 16;
/// One row in so many has no session, as in some months of the data set.
const ROWS_PER_EMPTY_SESSION: u64 = 50_000;

const CATEGORY_CODES: [&str; 28] = [
    "electronics.smartphone",
    "electronics.audio.headphone",
    "computers.notebook",
    "electronics.video.tv",
    "electronics.clocks",
    "appliances.kitchen.washer",
    "apparel.shoes",
    "appliances.environment.vacuum",
    "appliances.kitchen.refrigerators",
    "computers.desktop",
    "apparel.shoes.keds",
    "furniture.living_room.sofa",
    "electronics.tablet",
    "furniture.bedroom.bed",
    "construction.tools.drill",
    "auto.accessories.player",
    "kids.carriage",
    "appliances.environment.water_heater",
    "sport.bicycle",
    "computers.peripherals.printer",
    "kids.toys",
    "accessories.bag",
    "appliances.kitchen.microwave",
    "furniture.kitchen.table",
    "stationery.cartrige",
    "construction.tools.pump",
    "apparel.trousers",
    "medicine.tools.tonometer",
];

const BRANDS: [&str; 32] = [
    "samsung",
    "apple",
    "xiaomi",
    "huawei",
    "lucente",
    "lg",
    "bosch",
    "oppo",
    "sony",
    "acer",
    "lenovo",
    "respect",
    "artel",
    "hp",
    "indesit",
    "elenberg",
    "haier",
    "beko",
    "asus",
    "philips",
    "tefal",
    "cordiant",
    "hotpoint-ariston",
    "gran-stone",
    "arena",
    "dauscher",
    "redmond",
    "shiseido",
    "janome",
    "hyundai",
    "a-mega",
    "zeta",
];

/// A pseudo-random sequence: SplitMix64.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An even draw from 0 up to, not including, `bound`.
    #[inline]
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True once in so many draws.
    #[inline]
    fn once_in(&mut self, draws: u64) -> bool {
        self.below(draws) == 0
    }

    /// A skewed draw from 0 up to, not including, `bound`: half as likely for twice the rank, the
    /// first `head` ranks alike.
    #[inline]
    fn skewed(&mut self, head: u64, bound: u64) -> u64 {
        let octaves = u64::from((bound / head).ilog2()) + 1;
        loop {
            let octave = self.below(octaves);
            let first = head << octave;
            let rank = first + self.below(first) - head;
            if rank < bound {
                return rank;
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Product {
    id: u32,
    /// Which of the code's categories, or of those without a code.
    category_id: u64,
    category_code: &'static str,
    brand: &'static str,
    price_cents: u32,
}

impl Product {
    fn draw(random: &mut Random) -> Product {
        const FIRST_CATEGORY_ID: u64 = 2_053_013_552_259_662_037;
        let (category, category_code) = if random.once_in(3) {
            (100 + random.skewed(1, 16), "")
        } else {
            let rank = random.skewed(1, CATEGORY_CODES.len() as u64);
            (rank, CATEGORY_CODES[rank as usize])
        };
        let brand = if random.once_in(7) {
            ""
        } else {
            BRANDS[random.skewed(1, BRANDS.len() as u64) as usize]
        };
        let price_cents = match random.below(500) {
            0 => 0,
            _ => 99 + random.skewed(2000, 250_000) as u32,
        };
        Product {
            id: 1_000_000 + random.below(59_000_000) as u32,
            category_id: FIRST_CATEGORY_ID + category * 8_388_608,
            category_code,
            brand,
            price_cents,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Visitor {
    user_id: u32,
    session: [u8; 36],
}

impl Visitor {
    fn draw(random: &mut Random) -> Visitor {
        let spread = random.below(1 << 32);
        let skewed = (spread * spread) >> 32;
        let user_id = 512_000_000 + ((skewed * 46_000_000) >> 32) as u32;
        Visitor { user_id, session: uuid(random) }
    }
}

/// A random uuid (version 4) as text.
fn uuid(random: &mut Random) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits = (u128::from(random.next()) << 64) | u128::from(random.next());
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let mut text = [b'-'; 36];
    let mut nibble = 32;
    for (place, byte) in text.iter_mut().enumerate() {
        if !matches!(place, 8 | 13 | 18 | 23) {
            nibble -= 1;
            *byte = HEX[(bits >> (4 * nibble)) as usize & 15];
        }
    }
    text
}

/// The rows of a click-event file, one after the other, without end.
#[derive(Debug)]
pub struct ClickGenerator {
    random: Random,
    products: Vec<Product>,
    visitors: Vec<Visitor>,
    /// Seconds since 1970.
    second: i64,
    /// `second` as the file writes it.
    event_time: String,
}

impl ClickGenerator {
    /// A generator of the sequence that the seed stands for.
    pub fn new(seed: u64) -> ClickGenerator {
        let mut random = Random(seed);
        let products = (0..PRODUCTS).map(|_| Product::draw(&mut random)).collect();
        let visitors = (0..VISITORS).map(|_| Visitor::draw(&mut random)).collect();
        let second = days_from_civil(2019, 10, 1) * 86_400;
        let event_time = event_time(second);
        ClickGenerator { random, products, visitors, second, event_time }
    }

    /// Appends the header and its line feed.
    pub fn header(out: &mut Vec<u8>) {
        out.extend_from_slice(COLUMNS.join(",").as_bytes());
        out.push(b'\n');
    }

    /// Appends the next row and its line feed.
    pub fn row(&mut self, out: &mut Vec<u8>) {
        if self.random.once_in(ROWS_PER_SECOND) {
            self.second += 1;
            self.event_time = event_time(self.second);
        }
        let product = self.products[self.random.skewed(16, PRODUCTS as u64) as usize];
        let event_type: &[u8] = match self.random.below(1000) {
            0..960 => b",view,",
            960..982 => b",cart,",
            _ => b",purchase,",
        };
        let visitor = self.visitor();
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(self.event_time.as_bytes());
        out.extend_from_slice(event_type);
        out.extend_from_slice(digits.format(product.id).as_bytes());
        out.push(b',');
        out.extend_from_slice(digits.format(product.category_id).as_bytes());
        out.push(b',');
        out.extend_from_slice(product.category_code.as_bytes());
        out.push(b',');
        out.extend_from_slice(product.brand.as_bytes());
        out.push(b',');
        out.extend_from_slice(digits.format(product.price_cents / 100).as_bytes());
        let cents = (product.price_cents % 100) as u8;
        out.extend_from_slice(&[b'.', b'0' + cents / 10, b'0' + cents % 10, b',']);
        out.extend_from_slice(digits.format(visitor.user_id).as_bytes());
        out.push(b',');
        if !self.random.once_in(ROWS_PER_EMPTY_SESSION) {
            out.extend_from_slice(&visitor.session);
        }
        out.push(b'\n');
    }

    /// Who acts: mostly someone who is about, now and then in a new session, else someone new.
    fn visitor(&mut self) -> Visitor {
        let place = self.random.skewed(32, VISITORS as u64) as usize;
        match self.random.below(20) {
            0 => self.visitors[place].session = uuid(&mut self.random),
            1..4 => self.visitors[place] = Visitor::draw(&mut self.random),
            _ => {}
        }
        self.visitors[place]
    }
}

/// `2019-10-01 00:00:00 UTC`.
fn event_time(second: i64) -> String {
    let (year, month, day) = civil_from_days(second.div_euclid(86_400));
    let of_day = second.rem_euclid(86_400);
    let (hour, minute, of_minute) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{of_minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clicks::ClickRenderer;
    use crate::input::{ChunkReader, CsvRows, ROW_BYTES_MAX_DEFAULT};
    use crate::render::RecordColumns;
    use std::collections::HashMap;

    fn file(seed: u64, rows: usize) -> Vec<u8> {
        let mut out = Vec::new();
        ClickGenerator::header(&mut out);
        let mut generator = ClickGenerator::new(seed);
        for _ in 0..rows {
            generator.row(&mut out);
        }
        out
    }

    #[test]
    fn the_same_seed_gives_the_same_file() {
        assert_eq!(file(7, 1000), file(7, 1000));
        assert_ne!(file(7, 1000), file(8, 1000));
        let first = file(1, 2);
        assert_eq!(
            String::from_utf8_lossy(&first[..first.len() / 2]).lines().next(),
            Some(COLUMNS.join(",").as_str())
        );
    }

    #[test]
    fn the_rows_have_the_shape_of_the_data_set() {
        const ROWS: u64 = 100_000;
        let text = file(42, ROWS as usize);
        let mut rows = CsvRows::open(ChunkReader::new(&text[..], ROW_BYTES_MAX_DEFAULT), b',')
            .unwrap()
            .unwrap();
        let mut renderer =
            ClickRenderer::new(RecordColumns { timestamp: Some(0), ..RecordColumns::default() });
        let (mut no_code, mut no_brand, mut views, mut seconds) = (0, 0, 0, 0);
        let mut last_ms = 0;
        let (mut users, mut products) = (HashMap::new(), HashMap::new());
        let mut read = 0;
        while let Some(row) = rows.next_row().unwrap() {
            read += 1;
            assert_eq!((row.column(3).len(), row.column(7).len()), (19, 9));
            assert!(matches!(row.column(8).len(), 0 | 36));
            no_code += u64::from(row.column(4).is_empty());
            no_brand += u64::from(row.column(5).is_empty());
            views += u64::from(row.column(1) == b"view");
            *users.entry(row.column(7).to_vec()).or_insert(0_u64) += 1;
            *products.entry(row.column(2).to_vec()).or_insert(0_u64) += 1;
            let ms = renderer.render(&row).unwrap().timestamp_ms.unwrap();
            assert!(ms >= last_ms, "in time order");
            seconds += u64::from(ms != last_ms);
            last_ms = ms;
        }
        assert_eq!(read, ROWS);
        assert!((ROWS / 4..ROWS / 2).contains(&no_code), "{no_code}");
        assert!((ROWS / 10..ROWS / 5).contains(&no_brand), "{no_brand}");
        assert!((ROWS * 95 / 100..ROWS * 97 / 100).contains(&views), "{views}");
        assert!((ROWS / 20..ROWS / 12).contains(&seconds), "{seconds}");
        let most = |counts: &HashMap<Vec<u8>, u64>| counts.values().copied().max().unwrap();
        assert!(users.len() > 10_000 && most(&users) < ROWS / 50, "{}", users.len());
        assert!(products.len() > 10_000 && most(&products) > ROWS / 500, "{}", most(&products));
    }

    #[test]
    fn sessions_are_random_uuids() {
        let text = uuid(&mut Random(3));
        assert_eq!((text[14], text[8], text[23]), (b'4', b'-', b'-'));
        assert!(matches!(text[19], b'8' | b'9' | b'a' | b'b'));
    }
}
