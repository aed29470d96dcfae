"""Commands that look after this repository; they are not installed with the library."""
