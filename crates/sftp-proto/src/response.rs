//! What a server answers (filexfer-02 §7).

use bytes::{BufMut, Bytes, BytesMut};

use crate::attributes::Attributes;
use crate::kind;
use crate::status::Status;
use crate::wire::{Fields, Malformed, Short, put_packet, put_string};

/// The answer to a request, known by the request's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// How it ended.
    Status(Status),
    /// What an open file or directory is called from now on; 256 bytes at most.
    Handle(Bytes),
    /// Bytes of a file.
    Data(Bytes),
    /// Entries of a directory, or one path.
    Names(Vec<Name>),
    /// What is known of a file.
    Attributes(Attributes),
    /// The answer to a request that goes by name; only who asked knows its shape: [`crate::StatVfs`],
    /// [`crate::Limits`], [`crate::Checked`].
    Extended(Bytes),
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its name, one component, or a path where one was asked for.
    pub name: Bytes,
    /// A line as of `ls -l`, for people; empty where only a path was asked for.
    pub long_name: Bytes,
    /// What is known of it.
    pub attributes: Attributes,
}

impl Name {
    /// A path, of which nothing else is said.
    #[must_use]
    pub fn path(path: impl Into<Bytes>) -> Self {
        let name = path.into();
        Self {
            long_name: name.clone(),
            name,
            attributes: Attributes::default(),
        }
    }
}

impl Response {
    /// Writes it as a packet, the answer to the request with the number `id`.
    pub fn encode(&self, id: u32, out: &mut BytesMut) {
        if let Self::Data(data) = self {
            out.reserve(data.len() + 16);
        }
        put_packet(out, self.kind(), |out| {
            out.put_u32(id);
            self.put(out);
        });
    }

    /// Reads a packet: the number of the request that it answers, and the answer.
    ///
    /// # Errors
    /// [`Malformed`], with the number where it could be read.
    pub fn decode(packet: Bytes) -> Result<(u32, Self), Malformed> {
        let mut fields = Fields(packet);
        let (kind, id) = fields
            .u8()
            .and_then(|kind| Ok((kind, fields.u32()?)))
            .map_err(|short| short.within(None, "a response"))?;
        match Self::read(kind, &mut fields) {
            Ok(Some(response)) => Ok((id, response)),
            Ok(None) => Err(Short.within(Some(id), "a response of an unknown type")),
            Err(short) => Err(short.within(Some(id), named(kind))),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Status(_) => kind::STATUS,
            Self::Handle(_) => kind::HANDLE,
            Self::Data(_) => kind::DATA,
            Self::Names(_) => kind::NAME,
            Self::Attributes(_) => kind::ATTRS,
            Self::Extended(_) => kind::EXTENDED_REPLY,
        }
    }

    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Status(status) => status.put(out),
            Self::Handle(text) | Self::Data(text) => put_string(out, text),
            Self::Names(names) => {
                out.put_u32(u32::try_from(names.len()).unwrap_or(u32::MAX));
                for name in names {
                    put_string(out, &name.name);
                    put_string(out, &name.long_name);
                    name.attributes.put(out);
                }
            }
            Self::Attributes(attributes) => attributes.put(out),
            Self::Extended(content) => out.put_slice(content),
        }
    }

    fn read(kind: u8, fields: &mut Fields) -> Result<Option<Self>, Short> {
        Ok(Some(match kind {
            kind::STATUS => Self::Status(Status::read(fields)?),
            kind::HANDLE => Self::Handle(fields.string()?),
            kind::DATA => Self::Data(fields.string()?),
            kind::NAME => {
                let mut names = Vec::new();
                for _ in 0..fields.u32()? {
                    names.push(Name {
                        name: fields.string()?,
                        long_name: fields.string()?,
                        attributes: Attributes::read(fields)?,
                    });
                }
                Self::Names(names)
            }
            kind::ATTRS => Self::Attributes(Attributes::read(fields)?),
            kind::EXTENDED_REPLY => Self::Extended(fields.rest()),
            _ => return Ok(None),
        }))
    }
}

fn named(kind: u8) -> &'static str {
    match kind {
        kind::STATUS => "STATUS",
        kind::HANDLE => "HANDLE",
        kind::DATA => "DATA",
        kind::NAME => "NAME",
        kind::ATTRS => "ATTRS",
        _ => "a response",
    }
}
