//! The tree of a YAML text. The only module that knows the YAML library; it is not generic, so that
//! reading YAML is in the program once and not once for every type of the configuration.

use std::collections::HashMap;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use granit_parser::{Event, Parser, ScalarStyle, Span, Tag as ParsedTag};

use super::error::Error;
use super::scalar;
use super::spanned::Place;

/// How deep sequences and mappings may nest, aliases followed.
pub(super) const MAX_DEPTH: usize = 64;
/// How many nodes a text may have, aliases followed.
const MAX_NODES: usize = 1_000_000;
/// How many bytes the scalars may have, aliases followed.
const MAX_BYTES: usize = 64 << 20;
/// How many documents a text may have.
const MAX_DOCUMENTS: usize = 1024;

/// A value of the text.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is used.
    pub(super) place: Place,
    /// Where it is written.
    pub(super) defined: Place,
    pub(super) tag: Tag,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar {
        text: Box<str>,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
    /// A value with an anchor, and every alias of it.
    Shared(Rc<Node>),
}

/// What an explicit tag asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    None,
    Null,
    Bool,
    Int,
    Float,
    /// A text, whatever it looks like; `!!binary` is decoded and such a text.
    Text,
    Timestamp,
    Sequence,
    Mapping,
    Merge,
    Other,
}

impl Node {
    /// The value itself behind anchors and aliases.
    pub(super) fn resolved(&self) -> &Self {
        let mut node = self;
        while let Kind::Shared(inner) = &node.kind {
            node = inner;
        }
        node
    }

    /// Is it nothing: `null`, `~`, empty?
    pub(super) fn is_null(&self) -> bool {
        let node = self.resolved();
        match (&node.kind, node.tag) {
            (Kind::Scalar { .. }, Tag::Null) => true,
            (Kind::Scalar { text, plain: true }, Tag::None | Tag::Other | Tag::Merge | Tag::Timestamp) => {
                scalar::is_null(text)
            }
            _ => false,
        }
    }

    /// Is it nothing, or a sequence or mapping without anything in it?
    pub(super) fn is_empty(&self) -> bool {
        match &self.resolved().kind {
            Kind::Sequence(items) => items.is_empty(),
            Kind::Mapping(entries) => entries.is_empty(),
            _ => self.is_null(),
        }
    }

    /// Is it a mapping?
    pub fn is_mapping(&self) -> bool {
        matches!(self.resolved().kind, Kind::Mapping(_))
    }

    /// The keys of a mapping that are plain values, as they are written.
    pub(super) fn keys(&self) -> Vec<String> {
        let Kind::Mapping(entries) = &self.resolved().kind else { return Vec::new() };
        let key = |(key, _): &(Self, Self)| match &key.resolved().kind {
            Kind::Scalar { text, .. } => Some(text.to_string()),
            _ => None,
        };
        entries.iter().filter_map(key).collect()
    }

    pub(super) fn null(place: Place) -> Self {
        let kind = Kind::Scalar { text: Box::default(), plain: true };
        Self { place, defined: place, tag: Tag::None, kind }
    }
}

/// The documents of a text; an empty one is null.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|e| {
            let mark = e.marker();
            Error::at(Place::new(mark.line(), mark.col() + 1), e.info())
        })?;
        builder.event(event, &span)?;
    }
    Ok(builder.documents)
}

/// What a node weighs when aliases are followed.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    nodes: usize,
    bytes: usize,
    height: usize,
}

/// A sequence or mapping whose end is yet to come.
struct Open {
    place: Place,
    anchor: usize,
    tag: Tag,
    is_mapping: bool,
    /// Of a mapping: keys and values in turn.
    items: Vec<Node>,
    weight: Weight,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    /// By the anchor's number: values that are complete.
    anchors: HashMap<usize, (Rc<Node>, Weight)>,
    open: Vec<Open>,
    /// Of the documents that are complete, and of the one being read.
    total: Weight,
    /// Has the document being read a node?
    has_root: bool,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Error> {
        let place = Place::new(span.start.line(), span.start.col() + 1);
        match event {
            Event::DocumentStart(..) => {
                if self.documents.len() == MAX_DOCUMENTS {
                    return Err(Error::at(place, "too many documents"));
                }
                self.anchors.clear();
                self.has_root = false;
            }
            Event::DocumentEnd if !self.has_root => self.documents.push(Node::null(place)),
            Event::Scalar(text, style, anchor, tag) => {
                let tag_name = tag.as_deref().map(tag_name);
                let tag = tag_name.map_or(Tag::None, tag_kind);
                if matches!(tag, Tag::Sequence | Tag::Mapping) {
                    return Err(misfit(place));
                }
                let text: Box<str> = match tag_name {
                    Some("binary") => decode(&text).map_err(|e| Error::at(place, e))?.into(),
                    _ => text.into(),
                };
                let weight = Weight { nodes: 1, bytes: text.len(), height: 0 };
                let kind = Kind::Scalar { text, plain: style == ScalarStyle::Plain };
                self.add(Node { place, defined: place, tag, kind }, weight, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => self.start(place, anchor, tag.as_deref(), false)?,
            Event::MappingStart(_, anchor, tag) => self.start(place, anchor, tag.as_deref(), true)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let Open { place, anchor, tag, is_mapping, items, weight } = open;
                    let kind =
                        if is_mapping { Kind::Mapping(mapping(items)?) } else { Kind::Sequence(items) };
                    self.add(Node { place, defined: place, tag, kind }, weight, anchor)?;
                }
            }
            Event::Alias(anchor) => {
                // An anchor that is not complete holds the alias itself.
                let Some((node, weight)) = self.anchors.get(&anchor) else {
                    return Err(Error::at(place, "an alias stands inside of what it refers to"));
                };
                let (tag, defined) = (node.tag, node.defined);
                let (node, weight) = (Kind::Shared(Rc::clone(node)), *weight);
                self.add(Node { place, defined, tag, kind: node }, weight, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn start(
        &mut self,
        place: Place,
        anchor: usize,
        tag: Option<&ParsedTag>,
        is_mapping: bool,
    ) -> Result<(), Error> {
        let tag = tag.map_or(Tag::None, |tag| tag_kind(tag_name(tag)));
        match (tag, is_mapping) {
            (Tag::None | Tag::Other, _) | (Tag::Sequence, false) | (Tag::Mapping, true) => {}
            _ => return Err(misfit(place)),
        }
        let weight = Weight { nodes: 1, bytes: 0, height: 1 };
        self.open.push(Open { place, anchor, tag, is_mapping, items: Vec::new(), weight });
        self.within_depth(place, 0)
    }

    fn within_depth(&self, place: Place, height: usize) -> Result<(), Error> {
        if self.open.len() + height > MAX_DEPTH {
            return Err(Error::at(place, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    /// A complete node becomes a part of what is open, or a document.
    fn add(&mut self, mut node: Node, weight: Weight, anchor: usize) -> Result<(), Error> {
        let place = node.place;
        self.within_depth(place, weight.height)?;
        if anchor > 0 {
            let (tag, defined) = (node.tag, node.defined);
            let shared = Rc::new(node);
            self.anchors.insert(anchor, (Rc::clone(&shared), weight));
            node = Node { place, defined, tag, kind: Kind::Shared(shared) };
        }
        let whole = match self.open.last_mut() {
            Some(parent) => {
                parent.items.push(node);
                &mut parent.weight
            }
            None => {
                self.documents.push(node);
                self.has_root = true;
                &mut self.total
            }
        };
        whole.nodes = whole.nodes.saturating_add(weight.nodes);
        whole.bytes = whole.bytes.saturating_add(weight.bytes);
        whole.height = whole.height.max(weight.height + 1);
        if whole.nodes > MAX_NODES || whole.bytes > MAX_BYTES {
            return Err(Error::at(place, "too large, or too large once its aliases are followed"));
        }
        Ok(())
    }
}

/// Pairs keys and values, refuses what is there twice, and works in what `<<` merges.
fn mapping(items: Vec<Node>) -> Result<Vec<(Node, Node)>, Error> {
    let mut entries = Vec::with_capacity(items.len() / 2);
    let mut merges = Vec::new();
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        let name = key.resolved();
        match &name.kind {
            Kind::Scalar { text, plain }
                if &**text == "<<" && (name.tag == Tag::Merge || name.tag == Tag::None && *plain) =>
            {
                merges.push(value);
            }
            _ => entries.push((key, value)),
        }
    }
    let mut seen = HashMap::with_capacity(entries.len());
    for (key, _) in &entries {
        if let Kind::Scalar { text, .. } = &key.resolved().kind
            && let Some(first) = seen.insert(text.clone(), key.place)
        {
            let message = format!("duplicate mapping key: {text}, first on line {}", first.line());
            return Err(Error::at(key.place, message));
        }
    }
    for merge in &merges {
        let value = merge.resolved();
        let sources = match &value.kind {
            Kind::Mapping(_) => std::slice::from_ref(merge),
            Kind::Sequence(sources) => sources,
            _ if merge.is_null() => &[],
            _ => return Err(not_mergeable(merge.place)),
        };
        for source in sources.iter().filter(|source| !source.is_null()) {
            let Kind::Mapping(from) = &source.resolved().kind else {
                return Err(not_mergeable(source.place));
            };
            for (key, value) in from {
                if let Kind::Scalar { text, .. } = &key.resolved().kind {
                    if seen.contains_key(text) {
                        continue;
                    }
                    seen.insert(text.clone(), key.place);
                }
                // The place of use is that of the merge.
                let at_merge = |node: &Node| Node { place: source.place, ..node.clone() };
                entries.push((at_merge(key), at_merge(value)));
            }
        }
    }
    Ok(entries)
}

fn not_mergeable(place: Place) -> Error {
    Error::at(place, "YAML merge value must be mapping or sequence of mappings")
}

fn misfit(place: Place) -> Error {
    Error::at(place, "the tag does not fit its value")
}

/// The name of a standard tag (also when written with one `!`); others are `"other"`.
fn tag_name(tag: &ParsedTag) -> &str {
    match tag.core_suffix() {
        Some(suffix) => suffix,
        None if tag.handle() == "!" || tag.handle() == "tag:yaml.org,2002:" => tag.suffix(),
        None => "other",
    }
}

fn tag_kind(name: &str) -> Tag {
    match name {
        "null" => Tag::Null,
        "bool" => Tag::Bool,
        "int" => Tag::Int,
        "float" => Tag::Float,
        "" | "str" | "binary" => Tag::Text,
        "timestamp" => Tag::Timestamp,
        "seq" => Tag::Sequence,
        "map" => Tag::Mapping,
        "merge" => Tag::Merge,
        _ => Tag::Other,
    }
}

/// The text of a `!!binary` scalar.
fn decode(text: &str) -> Result<String, &'static str> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let packed: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let bytes = engine.decode(packed).map_err(|_| "invalid !!binary base64")?;
    String::from_utf8(bytes).map_err(|_| "!!binary scalar is not valid UTF-8")
}
