# Django groups Chinese digits by four with nothing between, which is to say not at all.
THOUSAND_SEPARATOR = ","
NUMBER_GROUPING = 3
