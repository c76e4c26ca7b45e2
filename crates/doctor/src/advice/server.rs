//! What can be found about a server that a URL names.

use super::kinds;

kinds! {
    NAME_FOUND = "name.found", Ok, exit 0, rank 0,
        "the host name has addresses", "";
}
