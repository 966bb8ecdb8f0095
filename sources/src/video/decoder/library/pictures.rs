//! The pictures of a stream of packets: decoded, upright, scaled and in RGB.

use crossbeam_channel::Sender;
use ffmpeg_next::codec::context::Context;
use ffmpeg_next::codec::packet::side_data::Type as SideData;
use ffmpeg_next::format::stream::Stream;
use ffmpeg_next::util::error::EAGAIN;
use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, Rescale as _, codec, decoder, filter, frame, rescale,
};

use crate::video::arguments::MAX_PIXELS;
use crate::video::decoder::Decoded;
use crate::video::nut::{Frame, Header, TimeBase};

/// Decodes packets to pictures, and sends them.
pub(super) struct Pictures<'a> {
    decoder: decoder::Video,
    time_base: Rational,
    /// The time of the start of the video, in the time base.
    start: i64,
    /// The width of a pixel per height, if the container has one; otherwise 0.
    pixel_aspect: Rational,
    filters: String,
    graph: Option<(Shape, filter::Graph)>,
    to: &'a Sender<Decoded>,
    /// True after the source has dropped the decoder.
    pub(super) is_closed: bool,
}

/// The properties of pictures that a graph of filters is built for.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    width: u32,
    height: u32,
    pixels: &'static str,
    pixel_aspect: Rational,
}

impl<'a> Pictures<'a> {
    pub(super) fn new(
        stream: &Stream<'_>,
        start_us: i64,
        filters: &str,
        to: &'a Sender<Decoded>,
    ) -> Result<Self, Error> {
        let time_base = stream.time_base();
        let mut decoder = Context::from_parameters(stream.parameters())?.decoder();
        decoder.set_packet_time_base(time_base);
        let codec = codec::decoder::find(decoder.id()).ok_or(Error::DecoderNotFound)?;
        let mut options = Dictionary::new();
        for (name, value) in [MAX_PIXELS, ("threads", "1")] {
            options.set(name, value);
        }
        Ok(Self {
            decoder: decoder.open_as_with(codec, options)?.video()?,
            time_base,
            start: start_us.rescale(rescale::TIME_BASE, time_base),
            pixel_aspect: pixel_aspect(stream),
            // A flipped picture has its rows in reverse order in memory; a copy has not.
            filters: format!("{}{filters},format=pix_fmts=rgb24,copy", upright(stream)),
            graph: None,
            to,
            is_closed: false,
        })
    }

    pub(super) fn decode(&mut self, packet: &Packet) -> Result<(), Error> {
        self.decoder.send_packet(packet)?;
        self.receive()
    }

    /// Sends the pictures that the decoder still has.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.decoder.send_eof()?;
        self.receive()?;
        self.flush()
    }

    fn receive(&mut self) -> Result<(), Error> {
        let mut picture = frame::Video::empty();
        let mut filtered = Ok(());
        while has_more(self.decoder.receive_frame(&mut picture))? {
            filtered = filtered.and(self.filter(&mut picture));
        }
        filtered
    }

    fn filter(&mut self, picture: &mut frame::Video) -> Result<(), Error> {
        let Some(at) = picture.timestamp() else { return Err(Error::InvalidData) };
        picture.set_pts(Some(at.saturating_sub(self.start)));
        let shape = self.shape(picture)?;
        if self.graph.as_ref().is_none_or(|(of, _)| *of != shape) {
            self.flush()?;
            let graph = shape.graph(self.time_base, &self.filters)?;
            self.graph = Some((shape, graph));
        }
        if let Some((_, graph)) = &mut self.graph {
            graph.get("in").ok_or(Error::FilterNotFound)?.source().add(picture)?;
        }
        self.send()
    }

    fn shape(&self, picture: &frame::Video) -> Result<Shape, Error> {
        let pixels = picture.format().descriptor().ok_or(Error::InvalidData)?.name();
        let given = [self.pixel_aspect, picture.aspect_ratio()];
        let pixel_aspect = given.into_iter().find(|aspect| aspect.numerator() > 0);
        let pixel_aspect = pixel_aspect.unwrap_or(Rational(1, 1));
        Ok(Shape { width: picture.width(), height: picture.height(), pixels, pixel_aspect })
    }

    /// Sends the pictures that the filters still have.
    fn flush(&mut self) -> Result<(), Error> {
        if let Some((_, graph)) = &mut self.graph {
            graph.get("in").ok_or(Error::FilterNotFound)?.source().flush()?;
        }
        self.send()?;
        self.graph = None;
        Ok(())
    }

    fn send(&mut self) -> Result<(), Error> {
        let Some((_, graph)) = &mut self.graph else { return Ok(()) };
        let mut sink = graph.get("out").ok_or(Error::FilterNotFound)?;
        let mut picture = frame::Video::empty();
        while has_more(sink.sink().frame(&mut picture))? {
            let time_base = sink.sink().time_base();
            // Pictures before the start have no place in the stream.
            let Some(pts) = picture.pts().filter(|pts| *pts >= 0) else { continue };
            let decoded = decoded(&picture, pts, time_base).ok_or(Error::InvalidData)?;
            self.is_closed |= self.to.send(decoded).is_err();
        }
        Ok(())
    }
}

impl Shape {
    fn graph(&self, time_base: Rational, filters: &str) -> Result<filter::Graph, Error> {
        let Self { width, height, pixels, pixel_aspect } = self;
        let find = |name| filter::find(name).ok_or(Error::FilterNotFound);
        let fraction = |of: Rational| format!("{}/{}", of.numerator(), of.denominator());
        let (time_base, pixel_aspect) = (fraction(time_base), fraction(*pixel_aspect));
        let arguments = format!(
            "video_size={width}x{height}:pix_fmt={pixels}:time_base={time_base}:\
             pixel_aspect={pixel_aspect}"
        );
        let mut graph = filter::Graph::new();
        graph.add(&find("buffer")?, "in", &arguments)?;
        graph.add(&find("buffersink")?, "out", "")?;
        graph.output("in", 0)?.input("out", 0)?.parse(filters)?;
        graph.validate()?;
        Ok(graph)
    }
}

/// Returns true for a picture, and false if the next one needs more packets, or at the end.
fn has_more(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Other { errno: EAGAIN } | Error::Eof) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the picture without padding between its rows; none if its description is not that of its pixels.
fn decoded(picture: &frame::Video, pts: i64, time_base: Rational) -> Option<Decoded> {
    let row_len = usize::try_from(picture.width()).ok()? * 3;
    let n_rows = usize::try_from(picture.height()).ok()?;
    // The crate casts a negative distance to a huge number.
    let step = Some(picture.stride(0)).filter(|step| i32::try_from(*step).is_ok())?;
    let rows = picture.data(0).chunks(step.max(1)).take(n_rows);
    let mut pixels = Vec::with_capacity(row_len * n_rows);
    for row in rows {
        pixels.extend_from_slice(row.get(..row_len)?);
    }
    let header = Header {
        width: picture.width(),
        height: picture.height(),
        time_base: TimeBase {
            numerator: u32::try_from(time_base.numerator()).ok()?,
            denominator: u32::try_from(time_base.denominator()).ok()?,
        },
    };
    Some(Decoded { header, frame: Frame { pts, pixels } })
}

/// Returns the width of a pixel per height, if the container has one; otherwise 0.
#[expect(unsafe_code, reason = "the crate has no function for it")]
fn pixel_aspect(stream: &Stream<'_>) -> Rational {
    // SAFETY: the stream is valid while it is borrowed, and the field is a plain number.
    unsafe { (*stream.as_ptr()).sample_aspect_ratio }.into()
}

/// Returns the filters that turn a picture as the container says.
fn upright(stream: &Stream<'_>) -> &'static str {
    let data = stream.side_data().find(|data| data.kind() == SideData::DisplayMatrix);
    let Some(data) = data else { return "" };
    let numbers = data.data().as_chunks::<4>().0.iter().map(|bytes| i32::from_ne_bytes(*bytes));
    let numbers: Vec<_> = numbers.map(i32::signum).collect();
    // The first and the second row of the display matrix: the directions of x and y on the screen.
    match numbers.as_slice() {
        [0, 1, _, -1, 0, ..] => "transpose=clock,",
        [0, 1, _, 1, 0, ..] => "transpose=cclock_flip,",
        [-1, 0, _, 0, -1, ..] => "hflip,vflip,",
        [-1, 0, _, 0, 1, ..] => "hflip,",
        [1, 0, _, 0, -1, ..] => "vflip,",
        [0, -1, _, 1, 0, ..] => "transpose=cclock,",
        [0, -1, _, -1, 0, ..] => "transpose=clock_flip,",
        _ => "",
    }
}
