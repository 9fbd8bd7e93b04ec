"""A page that a test looks at."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Collects what the tests look at."""

    VOID = ("meta", "img", "br", "wbr", "use", "path", "rect")

    def __init__(self, text):
        super().__init__()
        self.figures, self.urls, self.ids, self.links, self.tags, self.open = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.urls += [values[name] for name in ("src", "xlink:href", "srcset", "action") if name in values]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "data":
            self.figures.append({**values, "text": ""})

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] == "data":
            self.figures[-1]["text"] += text
