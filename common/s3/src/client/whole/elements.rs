//! The elements of an XML document that is well-formed.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::not_whole::Gap;

/// An element and its position in the document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub name: String,
    /// The number of elements around it: 0 for the root.
    pub depth: usize,
    /// The range in bytes from the start tag to the end tag, inclusive.
    pub all: Range<usize>,
    /// The range in bytes between the tags.
    pub inside: Range<usize>,
}

/// Returns all elements, in the order of their start tags.
///
/// # Errors
/// Returns the reason why the document is not well-formed.
pub(super) fn elements(document: &[u8]) -> Result<Vec<Element>, Gap> {
    let mut reader = Reader::from_reader(document);
    let mut all = Vec::new();
    let mut open = Vec::new();
    loop {
        let begins_at = reader.buffer_position() as usize;
        let event = reader.read_event()?;
        let ends_at = reader.buffer_position() as usize;
        if open.is_empty() && !may_be_outside(&event, &all) {
            return Err(Gap::NoDocument);
        }
        match event {
            Event::Start(tag) => {
                open.push(all.len());
                all.push(element(&tag, open.len() - 1, begins_at..ends_at));
            }
            Event::Empty(tag) => all.push(element(&tag, open.len(), begins_at..ends_at)),
            // The reader itself verifies that an end tag matches the element opened last.
            Event::End(_) => {
                let last: Option<&mut Element> = open.pop().and_then(|at: usize| all.get_mut(at));
                let last = last.ok_or(Gap::Unopened)?;
                last.inside.end = begins_at;
                last.all.end = ends_at;
            }
            Event::Eof if open.is_empty() => return Ok(all),
            Event::Eof => return Err(Gap::EndsEarly),
            _ => {}
        }
    }
}

/// Returns whether an event may occur outside the root element, of which there must be exactly one.
fn may_be_outside(event: &Event<'_>, all: &[Element]) -> bool {
    match event {
        Event::Start(_) | Event::Empty(_) => all.is_empty(),
        Event::Text(text) => text.trim_ascii().is_empty(),
        Event::Eof => !all.is_empty(),
        Event::Decl(_) | Event::PI(_) | Event::Comment(_) => true,
        _ => false,
    }
}

fn element(tag: &BytesStart<'_>, depth: usize, all: Range<usize>) -> Element {
    let name = String::from_utf8_lossy(tag.local_name().as_ref()).into_owned();
    Element { name, depth, inside: all.end..all.end, all }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(document: &str) -> Result<String, Gap> {
        let text = |element: &Element| {
            format!("{}{}={} ", element.depth, element.name, &document[element.inside.clone()])
        };
        elements(document.as_bytes()).map(|all| all.iter().map(text).collect())
    }

    #[test]
    fn a_document_is_its_elements() {
        let document = "<?xml version=\"1.0\"?>\n \n<a xmlns=\"x\"><b>1 &amp; 2</b><c/></a>\n";
        assert_eq!(shown(document).unwrap(), "0a=<b>1 &amp; 2</b><c/> 1b=1 &amp; 2 1c= ");
        assert_eq!(shown("<x:a/>").unwrap(), "0a= ");
    }

    #[test]
    fn a_document_that_is_cut_anywhere_is_none() {
        let document = "<?xml version=\"1.0\"?><a><b>1</b><b>2</b></a>";
        for end in 0..document.len() {
            assert!(shown(&document[..end]).is_err(), "{}", &document[..end]);
        }
        for torn in ["", " ", "text", "<a></b>", "<a/><b/>", "<a/>text", "</a>", "<a><b></a>"] {
            assert!(shown(torn).is_err(), "{torn}");
        }
        let page = "<!DOCTYPE html>\n<html><body><br></body></html>";
        assert!(shown(page).is_err());
    }
}
