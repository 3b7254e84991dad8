//! QR codes of short links (ISO/IEC 18004), as SVG or PNG. The link in one has a sub id, so that its clicks show
//! that it was scanned.

use qrcode::{Color, EcLevel, QrCode};

use crate::word_enum::word_enum;

/// Modules of white around the code, as the standard asks for.
const QUIET_ZONE: u32 = 4;
/// The value of the sub id.
const SCANNED: &str = "qr";

/// Width and height of an image that can be asked for, pixels. The longest link needs 101 pixels, with the most error
/// correction.
pub const SIZE_BOUNDS_PX: std::ops::RangeInclusive<u32> = 200..=4096;
/// Width and height of an image unless another one is asked for, pixels.
pub const DEFAULT_SIZE_PX: u32 = 600;

word_enum! {
    /// The form of the image.
    pub enum QrFormat { Svg = "svg", Png = "png" }
}

word_enum! {
    /// How much of the image may be covered or dirty: 7, 15, 25, 30 percent.
    pub enum ErrorCorrection { Low = "low", Medium = "medium", Quartile = "quartile", High = "high" }
}

word_enum! {
    /// The sub id that says that the code was scanned.
    pub enum ScanSub { Sub1 = "sub1", Sub2 = "sub2", Sub3 = "sub3", Sub4 = "sub4", Sub5 = "sub5" }
}

/// An image of a code.
#[derive(Clone, Copy, Debug)]
pub struct QrImage {
    /// Its form.
    pub format: QrFormat,
    /// What it can lose.
    pub error_correction: ErrorCorrection,
    /// Width and height, pixels; within [`SIZE_BOUNDS_PX`].
    pub size_px: u32,
}

impl QrFormat {
    /// The media type of an image.
    pub const fn media_type(self) -> &'static str {
        match self {
            QrFormat::Svg => "image/svg+xml",
            QrFormat::Png => "image/png",
        }
    }
}

/// The URL that a code holds: `https://HOST/CODE?sub1=qr`. `sub_names` are the names that the domain has for the sub
/// ids; none: they have their own.
///
/// # Errors
/// The domain has names, but none for this sub id; the text says so.
pub fn url_to_scan<'n>(
    host: &str,
    code: &str,
    sub: ScanSub,
    mut sub_names: impl ExactSizeIterator<Item = &'n str>,
) -> Result<String, String> {
    let count = sub_names.len();
    let name = if count == 0 { Some(sub.as_str()) } else { sub_names.nth(sub as usize) };
    match name {
        Some(name) => Ok(format!("https://{host}/{code}?{name}={SCANNED}")),
        None => Err(format!("is {}; the domain's sub_names name {count} sub ids", sub.as_str())),
    }
}

impl QrImage {
    /// Draws the code of a text.
    ///
    /// # Errors
    /// The text is too long for a code, or the size is too small for it; the text says so.
    pub fn draw(self, text: &str) -> Result<Vec<u8>, String> {
        let level = match self.error_correction {
            ErrorCorrection::Low => EcLevel::L,
            ErrorCorrection::Medium => EcLevel::M,
            ErrorCorrection::Quartile => EcLevel::Q,
            ErrorCorrection::High => EcLevel::H,
        };
        let code = QrCode::with_error_correction_level(text, level)
            .map_err(|error| format!("{text}: no QR code can hold it: {error}"))?;
        let modules = Modules::of_code(&code);
        match self.format {
            QrFormat::Svg => Ok(modules.to_svg(self.size_px).into_bytes()),
            QrFormat::Png => modules.to_png(self.size_px),
        }
    }
}

/// The squares of a code, row by row, without the white around it.
struct Modules {
    /// Squares of a row.
    width: u32,
    is_dark: Vec<bool>,
}

impl Modules {
    fn of_code(code: &QrCode) -> Modules {
        // At most 177 (version 40).
        let width = u32::try_from(code.width()).unwrap_or(0);
        Modules { width, is_dark: code.to_colors().into_iter().map(|color| color == Color::Dark).collect() }
    }

    /// Squares of a row with the white around it.
    const fn width_with_quiet_zone(&self) -> u32 {
        self.width + 2 * QUIET_ZONE
    }

    fn rows(&self) -> impl Iterator<Item = &[bool]> {
        self.is_dark.chunks_exact(self.width as usize)
    }

    /// One path of rectangles, one for each run of dark squares: no edge between two of them can shine through.
    fn to_svg(&self, size_px: u32) -> String {
        use std::fmt::Write;
        let width = self.width_with_quiet_zone();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size_px}\" height=\"{size_px}\" viewBox=\"0 0 {width} \
             {width}\" shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{width}v{width}H0z\"/><path d=\""
        );
        for (y, row) in (QUIET_ZONE..).zip(self.rows()) {
            let mut x = QUIET_ZONE;
            for run in row.chunk_by(|left, right| left == right) {
                let len = u32::try_from(run.len()).unwrap_or(0);
                if run[0] {
                    // Writing to a text does not fail.
                    let _ = write!(svg, "M{x} {y}h{len}v1h-{len}z");
                }
                x += len;
            }
        }
        svg.push_str("\"/></svg>\n");
        svg
    }

    /// An image of exactly `size_px`: each square has the same number of pixels, and what is left is white.
    fn to_png(&self, size_px: u32) -> Result<Vec<u8>, String> {
        let scale = size_px / self.width_with_quiet_zone();
        if scale == 0 {
            let needed = self.width_with_quiet_zone();
            return Err(format!("a PNG of {size_px} pixels is too small for this code; it needs {needed} at least"));
        }
        let margin = (size_px - self.width * scale) / 2;
        let module_at =
            |pixel: u32| pixel.checked_sub(margin).map(|inside| inside / scale).filter(|at| *at < self.width);
        // A bit a pixel, from the highest; 1 is white. A row starts with a byte.
        let mut pixels = Vec::with_capacity(size_px.div_ceil(8) as usize * size_px as usize);
        for y in 0..size_px {
            let row = module_at(y).and_then(|row| self.rows().nth(row as usize));
            let is_dark = |x| row.zip(module_at(x)).is_some_and(|(row, column)| row[column as usize]);
            for first in (0..size_px).step_by(8) {
                let bits = (first..first + 8).map(|x| u8::from(!is_dark(x)));
                pixels.push(bits.fold(0, |byte, bit| byte << 1 | bit));
            }
        }
        write_png(size_px, &pixels).map_err(|error| format!("the PNG cannot be written: {error}"))
    }
}

fn write_png(size_px: u32, pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size_px, size_px);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader of QR codes finds in an image of grey pixels.
    fn read(width: usize, grey: impl Fn(usize, usize) -> u8) -> String {
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, width, grey);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "codes in the image");
        grids[0].decode().unwrap().1
    }

    fn read_png(bytes: &[u8]) -> (u32, String) {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.width, info.height);
        let width = info.width as usize;
        // Three times as large: a square of one pixel is less than the reader is made for.
        (info.width, read(3 * width, |x, y| pixels[y / 3 * width + x / 3]))
    }

    /// Fills the rectangles of the second path, ten pixels a square.
    fn read_svg(svg: &str) -> String {
        let width: usize = svg.split("viewBox=\"0 0 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let path = svg.rsplit_once("<path d=\"").unwrap().1.split('"').next().unwrap();
        let mut is_dark = vec![false; width * width];
        for run in path.split('M').skip(1) {
            let (start, len) = run.split_once('h').unwrap();
            let (x, y) = start.split_once(' ').unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            let len: usize = len.split_once("v1").unwrap().0.parse().unwrap();
            is_dark[y * width + x..][..len].fill(true);
        }
        read(width * 10, |x, y| if is_dark[y / 10 * width + x / 10] { 0 } else { 255 })
    }

    #[test]
    fn a_reader_finds_the_link_in_every_form_and_with_every_error_correction() {
        let url = url_to_scan("go.example.com", "Mug-2026", ScanSub::Sub3, [].into_iter()).unwrap();
        assert_eq!(url, "https://go.example.com/Mug-2026?sub3=qr");
        for error_correction in ErrorCorrection::ALL {
            for size_px in [200, 300, 601] {
                let image = |format| QrImage { format, error_correction, size_px }.draw(&url).unwrap();
                assert_eq!(read_png(&image(QrFormat::Png)), (size_px, url.clone()), "{error_correction:?}");
                assert_eq!(read_svg(std::str::from_utf8(&image(QrFormat::Svg)).unwrap()), url);
            }
        }
    }

    #[test]
    fn a_png_too_small_for_its_code_names_the_size_that_it_needs() {
        let url = url_to_scan(&"a".repeat(240), &"b".repeat(64), ScanSub::Sub1, [].into_iter()).unwrap();
        let image = QrImage { format: QrFormat::Png, error_correction: ErrorCorrection::High, size_px: 64 };
        let error = image.draw(&url).unwrap_err();
        let needed: u32 = error.split("needs ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!(read_png(&QrImage { size_px: needed, ..image }.draw(&url).unwrap()), (needed, url));
    }
}
