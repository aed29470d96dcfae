"""Motion whose law is known: closed forms, their least-squares fits, the world in which they are seen."""
