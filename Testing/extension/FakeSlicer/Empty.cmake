# Nothing to package while only configuring.
