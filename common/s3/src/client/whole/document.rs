//! The XML documents in answers of S3, and the checks that prove one complete (Amazon S3 API
//! Reference).

use std::borrow::Cow;
use std::ops::Range;

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use bytes::Bytes;

use super::elements::{Element, elements};
use super::not_whole::{Gap, NotWhole};

/// The type of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// The name of the outermost element.
    root: &'static str,
    /// The name that some services use instead.
    alias: &'static str,
    /// Elements that must occur directly below the root.
    needs: &'static [&'static str],
    /// Elements that the document lists, and the fields that each of them must have exactly once.
    entries: &'static [(&'static str, &'static [&'static str])],
    /// The element that holds the number of entries.
    count: Option<&'static str>,
    /// The element that holds the position of the next page, where the document does not list
    /// everything.
    next: Option<&'static str>,
    /// True if the service may still be working while it answers, and may end with an error.
    pub is_slow: bool,
}

const PLAIN: Document = Document {
    root: "",
    alias: "",
    needs: &[],
    entries: &[],
    count: None,
    next: None,
    is_slow: false,
};

/// Keys and common prefixes, the entries of a listing.
const NAMES: &[(&str, &[&str])] = &[("Contents", &["Key"]), ("CommonPrefixes", &["Prefix"])];

static LIST: Document = Document {
    root: "ListBucketResult",
    needs: &["IsTruncated"],
    entries: NAMES,
    count: Some("KeyCount"),
    next: Some("NextContinuationToken"),
    ..PLAIN
};
/// A listing of the first version of the API. It may lack a marker, because the last name serves as
/// one.
static LIST_BY_MARKER: Document =
    Document { root: "ListBucketResult", needs: &["IsTruncated"], entries: NAMES, ..PLAIN };
static UPLOADS: Document = Document {
    root: "ListMultipartUploadsResult",
    needs: &["IsTruncated"],
    entries: &[("Upload", &["Key", "UploadId"])],
    next: Some("NextKeyMarker"),
    ..PLAIN
};
static PARTS: Document = Document {
    root: "ListPartsResult",
    entries: &[("Part", &["PartNumber", "ETag", "Size"])],
    ..PLAIN
};
static NEW_UPLOAD: Document = Document {
    root: "InitiateMultipartUploadResult",
    alias: "InitiateMultipartUpload",
    needs: &["UploadId"],
    ..PLAIN
};
static COMPLETED: Document =
    Document { root: "CompleteMultipartUploadResult", needs: &["ETag"], is_slow: true, ..PLAIN };
static COPIED: Document =
    Document { root: "CopyObjectResult", needs: &["ETag"], is_slow: true, ..PLAIN };
static PART_COPIED: Document =
    Document { root: "CopyPartResult", needs: &["ETag"], is_slow: true, ..PLAIN };
static DELETED: Document = Document {
    root: "DeleteResult",
    entries: &[("Deleted", &["Key"]), ("Error", &["Key", "Code"])],
    ..PLAIN
};
static TAGS: Document = Document {
    root: "Tagging",
    needs: &["TagSet"],
    entries: &[("Tag", &["Key", "Value"])],
    ..PLAIN
};
static BUCKETS: Document = Document {
    root: "ListAllMyBucketsResult",
    needs: &["Buckets"],
    entries: &[("Bucket", &["Name"])],
    ..PLAIN
};
static ACL: Document = Document {
    root: "AccessControlPolicy",
    needs: &["AccessControlList"],
    entries: &[("Grant", &["Grantee", "Permission"])],
    ..PLAIN
};

/// Elements that hold times. A time that cannot be parsed is removed, as the rest of its entry is
/// still valid.
const TIMES: [&str; 2] = ["LastModified", "Initiated"];

impl Document {
    /// Returns the type of document that answers an operation.
    pub fn of(operation: &str) -> Option<&'static Self> {
        Some(match operation {
            "ListObjectsV2" => &LIST,
            "ListObjects" => &LIST_BY_MARKER,
            "ListMultipartUploads" => &UPLOADS,
            "ListParts" => &PARTS,
            "CreateMultipartUpload" => &NEW_UPLOAD,
            "CompleteMultipartUpload" => &COMPLETED,
            "CopyObject" => &COPIED,
            "UploadPartCopy" => &PART_COPIED,
            "DeleteObjects" => &DELETED,
            "GetObjectTagging" => &TAGS,
            "GetObjectAcl" => &ACL,
            "ListBuckets" => &BUCKETS,
            _ => return None,
        })
    }

    /// Verifies a document, and returns it in the form that the client can parse.
    ///
    /// # Errors
    /// Returns the reason why the document is incomplete or of another type.
    pub fn prove(&self, answer: Vec<u8>) -> Result<Bytes, NotWhole> {
        let checked =
            elements(&answer).and_then(|all| self.check(&Seen { answer: &answer, all: &all }));
        match checked {
            Ok(edits) if edits.is_empty() => Ok(answer.into()),
            Ok(edits) => Ok(edited(&answer, edits)),
            Err(why) => Err(NotWhole::new(why, &answer)),
        }
    }

    /// Verifies a document, and returns the edits that the client needs.
    fn check(&self, seen: &Seen<'_>) -> Result<Vec<Edit>, Gap> {
        let root = &*seen.all[0].name;
        // A service that has already sent status 200 reports a later failure in the same body.
        if root == "Error" && self.is_slow {
            return Ok(Vec::new());
        }
        if root != self.root && root != self.alias {
            return Err(Gap::Root { root: root.to_owned(), expected: self.root });
        }
        if let Some(lacking) = self.needs.iter().find(|name| seen.text(name).is_none()) {
            return Err(Gap::Lacks(lacking));
        }
        let mut counts = Vec::new();
        for (name, fields) in self.entries {
            counts.push(seen.entries(name, fields)?);
        }
        self.check_count(seen, &counts)?;
        Ok(self.edits(seen))
    }

    /// Verifies that a listing has as many entries as it declares, and says where it continues if
    /// it is truncated. Either fault would lose entries without any error.
    fn check_count(&self, seen: &Seen<'_>, counts: &[usize]) -> Result<(), Gap> {
        let told = self.count.and_then(|name| seen.text(name));
        let all = counts.iter().sum();
        // Some services count keys only, not common prefixes.
        if let Some(told) = &told
            && ![Some(all), counts.first().copied()].contains(&told.parse().ok())
        {
            return Err(Gap::Count { declared: told.to_string(), listed: all });
        }
        // A service that implements only ListObjects answers in that form, which has no count.
        let may_be_first_kind = self.count.is_some() && told.is_none();
        let goes_on = seen.text("IsTruncated").as_deref() == Some("true");
        let says_where =
            self.next.is_none_or(|name| seen.text(name).is_some_and(|it| !it.is_empty()));
        if goes_on && !says_where && !may_be_first_kind {
            return Err(Gap::NoNextPage);
        }
        Ok(())
    }

    /// Returns the edits that the client needs to parse the document: the expected name of the
    /// root, and times in the expected format (RFC 3339).
    fn edits(&self, seen: &Seen<'_>) -> Vec<Edit> {
        let mut edits = Vec::new();
        if seen.all[0].name != self.root {
            let (all, inside) = (&seen.all[0].all, &seen.all[0].inside);
            edits.push((all.start..inside.start, format!("<{}>", self.root)));
            edits.push((inside.end..all.end, format!("</{}>", self.root)));
        }
        let times = seen.all.iter().filter(|element| TIMES.contains(&&*element.name));
        edits.extend(times.filter_map(|element| {
            let text = seen.text_of(element);
            let read = |form| DateTime::from_str(text.trim(), form);
            if read(DateTimeFormat::DateTimeWithOffset).is_ok() {
                return None;
            }
            let other =
                read(DateTimeFormat::HttpDate).or_else(|_| read(DateTimeFormat::EpochSeconds));
            let time = other.ok().and_then(|time| time.fmt(DateTimeFormat::DateTime).ok());
            let anew = |time| format!("<{0}>{time}</{0}>", element.name);
            Some((element.all.clone(), time.map_or_else(String::new, anew)))
        }));
        edits.sort_by_key(|(range, _)| range.start);
        edits
    }
}

/// A range of a document in bytes, and its replacement.
type Edit = (Range<usize>, String);

/// Applies edits, which are in order and do not overlap.
fn edited(document: &[u8], edits: Vec<Edit>) -> Bytes {
    let mut new = Vec::with_capacity(document.len());
    let mut at = 0;
    for (range, text) in edits {
        new.extend_from_slice(&document[at..range.start]);
        new.extend_from_slice(text.as_bytes());
        at = range.end;
    }
    new.extend_from_slice(&document[at..]);
    new.into()
}

/// A document and its elements.
struct Seen<'d> {
    answer: &'d [u8],
    all: &'d [Element],
}

impl<'d> Seen<'d> {
    fn text_of(&self, element: &Element) -> Cow<'d, str> {
        String::from_utf8_lossy(&self.answer[element.inside.clone()])
    }

    /// Returns the text of an element directly below the root.
    fn text(&self, name: &str) -> Option<Cow<'d, str>> {
        let element = self.all.iter().find(|it| it.depth == 1 && it.name == name)?;
        Some(self.text_of(element))
    }

    /// Returns the number of entries of that name at any depth, after verifying that each has each
    /// of these fields exactly once.
    fn entries(&self, name: &'static str, fields: &[&'static str]) -> Result<usize, Gap> {
        let mut count = 0;
        for (at, entry) in self.all.iter().enumerate() {
            if entry.depth == 0 || entry.name != name {
                continue;
            }
            count += 1;
            let own = self.all[at + 1..].iter().take_while(|it| it.depth > entry.depth);
            let own: Vec<_> = own.filter(|it| it.depth == entry.depth + 1).collect();
            for field in fields {
                if own.iter().filter(|it| it.name == *field).count() != 1 {
                    return Err(Gap::Field { entry: name, field });
                }
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prove(operation: &str, answer: &str) -> Result<String, String> {
        let proved = Document::of(operation).unwrap().prove(answer.as_bytes().to_vec());
        proved.map(|it| String::from_utf8(it.to_vec()).unwrap()).map_err(|error| error.to_string())
    }

    fn list(inside: &str) -> String {
        format!("<ListBucketResult>{inside}</ListBucketResult>")
    }

    #[track_caller]
    fn assert_refused(operation: &str, answer: &str, word: &str) {
        let why = prove(operation, answer).unwrap_err();
        assert!(why.contains(word), "{why}");
    }

    const ENTRIES: &str = "<Contents><Key>a</Key></Contents>\
        <CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>";

    #[test]
    fn a_list_has_as_many_entries_as_it_says() {
        let of = |count: &str| {
            list(&format!("<KeyCount>{count}</KeyCount><IsTruncated>false</IsTruncated>{ENTRIES}"))
        };
        for good in ["1", "2"] {
            assert_eq!(prove("ListObjectsV2", &of(good)), Ok(of(good)));
        }
        for bad in ["0", "3", "", "x"] {
            assert_refused("ListObjectsV2", &of(bad), "it says that it lists");
        }
        let without = list(&format!("<IsTruncated>false</IsTruncated>{ENTRIES}"));
        assert!(prove("ListObjectsV2", &without).is_ok() && prove("ListObjects", &without).is_ok());
        assert_refused("ListObjectsV2", &list(ENTRIES), "no IsTruncated");
        let empty = list("<IsTruncated>false</IsTruncated><Contents></Contents>");
        assert_refused("ListObjectsV2", &empty, "a Contents without one Key");
    }

    #[test]
    fn a_list_of_which_there_is_more_says_where() {
        let token = "<NextContinuationToken>t</NextContinuationToken>";
        let of = |inside: &str| list(&format!("<IsTruncated>true</IsTruncated>{ENTRIES}{inside}"));
        assert!(prove("ListObjectsV2", &of(&format!("<KeyCount>2</KeyCount>{token}"))).is_ok());
        assert_refused("ListObjectsV2", &of("<KeyCount>2</KeyCount>"), "does not say where");
        let empty = "<KeyCount>2</KeyCount><NextContinuationToken/>";
        assert_refused("ListObjectsV2", &of(empty), "does not say where");
        assert!(prove("ListObjectsV2", &of("")).is_ok(), "a list of the first kind");
        let uploads = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>\
            </ListMultipartUploadsResult>";
        assert_refused("ListMultipartUploads", uploads, "does not say where");
    }

    /// Verifies that an answer with tags or grants must have a list of them, if an empty one.
    #[test]
    fn what_an_object_carries_is_whole() {
        let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
        assert_eq!(prove("GetObjectTagging", tags), Ok(tags.to_owned()));
        assert!(prove("GetObjectTagging", "<Tagging><TagSet/></Tagging>").is_ok());
        assert_refused("GetObjectTagging", "<Tagging/>", "no TagSet");
        assert_refused("GetObjectTagging", &tags.replace("Value", "V"), "a Tag without one Value");
        let acl = "<AccessControlPolicy><Owner><ID>me</ID></Owner><AccessControlList><Grant>\
            <Grantee><ID>me</ID></Grantee><Permission>READ</Permission></Grant>\
            </AccessControlList></AccessControlPolicy>";
        assert_eq!(prove("GetObjectAcl", acl), Ok(acl.to_owned()));
        for cut in (1..acl.len()).filter(|at| acl.is_char_boundary(*at)) {
            assert!(prove("GetObjectAcl", &acl[..cut]).is_err(), "{}", &acl[..cut]);
        }
        let owner = "<AccessControlPolicy><Owner/></AccessControlPolicy>";
        assert_refused("GetObjectAcl", owner, "no AccessControlList");
        let bare = acl.replace("Permission>", "Right>");
        assert_refused("GetObjectAcl", &bare, "a Grant without one Permission");
    }

    #[test]
    fn times_that_cannot_be_read_are_left_out() {
        let of = |time: &str| {
            list(&format!(
                "<IsTruncated>false</IsTruncated><Contents><Key>a</Key>{time}</Contents>"
            ))
        };
        let time = |text: &str| of(&format!("<LastModified>{text}</LastModified>"));
        let good = time("2024-01-02T03:04:05.000Z");
        assert_eq!(prove("ListObjectsV2", &good), Ok(good));
        for odd in ["", " ", "yesterday", "0001-01-01 00:00:00 UTC"] {
            assert_eq!(prove("ListObjectsV2", &time(odd)), Ok(of("")), "{odd}");
        }
        assert_eq!(prove("ListObjectsV2", &of("<LastModified/>")), Ok(of("")));
        let other = time("Tue, 02 Jan 2024 03:04:05 GMT");
        assert_eq!(prove("ListObjectsV2", &other), Ok(time("2024-01-02T03:04:05Z")));
    }

    #[test]
    fn another_document_is_not_the_one_that_was_asked_for() {
        let done = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>";
        assert_eq!(prove("CompleteMultipartUpload", done), Ok(done.to_owned()));
        assert_refused("CompleteMultipartUpload", &done.replace("ETag", "Tag"), "no ETag");
        assert_refused("ListObjectsV2", "<html></html>", "it is <html>");
        let error = "<Error><Code>InternalError</Code></Error>";
        assert_eq!(prove("CopyObject", error), Ok(error.to_owned()), "the client reads it");
        assert_refused("ListParts", error, "it is <Error>");
        let begun = "<InitiateMultipartUpload><UploadId>u</UploadId></InitiateMultipartUpload>";
        let named = begun.replace("MultipartUpload>", "MultipartUploadResult>");
        assert_eq!(prove("CreateMultipartUpload", begun), Ok(named));
    }
}
