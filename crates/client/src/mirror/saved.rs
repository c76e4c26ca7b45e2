//! A plan as JSON, for people to read and for a later run to carry out.

use serde::{Deserialize, Serialize};

use super::Plan;

/// The form of the file; another number is another form.
const VERSION: u32 = 1;

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadPlan {
    /// It is not the JSON of a plan.
    #[error("it is no plan: {0}")]
    Form(#[from] serde_json::Error),
    /// It was made by a version that writes plans in another form.
    #[error("it is a plan of form {0}, and this version reads form {VERSION}")]
    Version(u32),
}

#[derive(Serialize)]
struct Written<'a> {
    plan: u32,
    #[serde(flatten)]
    content: &'a Plan,
}

#[derive(Deserialize)]
struct Head {
    plan: u32,
}

impl Plan {
    /// The plan as JSON text.
    ///
    /// # Errors
    /// When a time lies before 1970, which the form has no number for.
    pub fn to_json(&self) -> Result<String, BadPlan> {
        let written = Written {
            plan: VERSION,
            content: self,
        };
        Ok(serde_json::to_string_pretty(&written)?)
    }

    /// The plan that a JSON text means.
    ///
    /// # Errors
    /// [`BadPlan`].
    pub fn from_json(text: &str) -> Result<Self, BadPlan> {
        match serde_json::from_str::<Head>(text)?.plan {
            VERSION => Ok(serde_json::from_str(text)?),
            other => Err(BadPlan::Version(other)),
        }
    }
}

/// A path: as text, or in hexadecimal where its bytes are no UTF-8.
pub(super) mod path {
    use std::borrow::Cow;

    use pasarela_store::VirtualPath;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Text<'a> {
        Utf8(Cow<'a, str>),
        Bytes { hex: String },
    }

    pub(in crate::mirror) fn serialize<S: Serializer>(path: &VirtualPath, to: S) -> Result<S::Ok, S::Error> {
        let bytes = path.to_bytes();
        match std::str::from_utf8(&bytes) {
            Ok(text) => Text::Utf8(text.into()),
            Err(_) => Text::Bytes {
                hex: hex::encode(&bytes),
            },
        }
        .serialize(to)
    }

    pub(in crate::mirror) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<VirtualPath, D::Error> {
        let bytes = match Text::deserialize(from)? {
            Text::Utf8(text) => text.into_owned().into_bytes(),
            Text::Bytes { hex } => hex::decode(hex).map_err(D::Error::custom)?,
        };
        VirtualPath::root().resolve(&bytes).map_err(D::Error::custom)
    }
}
