"""The shapes of answers, for the API's description; nothing checks them while requests are answered.

Times are ISO 8601 in UTC with milliseconds, durations milliseconds, sizes bytes. A shape has the keys named here and
no others, except where it says so.
"""
