# The facts Seedling knows, as plain tables.
#
# Every row is one fact in English and in Chinese. A table becomes a topic when `en.txt` and `zh.txt`
# name it; the slot names they may use are the keys made in TABLES at the end of this file.
# The text is our own and free to ship.

NUMBERS_EN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()
NUMBERS_ZH = (
    "零 一 二 三 四 五 六 七 八 九 十 十一 十二 十三 十四 十五 十六 十七 十八 十九 二十".split()
)

WEEKDAYS_EN = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
WEEKDAYS_ZH = "星期一 星期二 星期三 星期四 星期五 星期六 星期日".split()
MONTHS_EN = (
    "January February March April May June July August September October November December"
).split()
MONTHS_ZH = "一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月".split()
SEASONS_EN = "spring summer autumn winter".split()
SEASONS_ZH = "春天 夏天 秋天 冬天".split()
WEATHER_EN = "warm hot cool cold".split()
WEATHER_ZH = "温暖 炎热 凉爽 寒冷".split()

# thing, color
COLORS_EN = """the sky=blue; the sea=blue; grass=green; a leaf=green; a frog=green; a cucumber=green;
snow=white; milk=white; a cloud=white; a swan=white; coal=black; the night=black; a banana=yellow;
a lemon=yellow; the sun=yellow; a chick=yellow; a strawberry=red; a tomato=red; a rose=red; blood=red;
a carrot=orange; a pumpkin=orange; chocolate=brown; wood=brown; a pig=pink; a flamingo=pink;
a grape=purple; an eggplant=purple; an elephant=gray; a mouse=gray"""
COLORS_ZH = """天空=蓝色; 大海=蓝色; 草=绿色; 树叶=绿色; 青蛙=绿色; 黄瓜=绿色; 雪=白色; 牛奶=白色; 云=白色;
天鹅=白色; 煤=黑色; 夜晚=黑色; 香蕉=黄色; 柠檬=黄色; 太阳=黄色; 小鸡=黄色; 草莓=红色; 西红柿=红色; 玫瑰=红色;
血=红色; 胡萝卜=橙色; 南瓜=橙色; 巧克力=棕色; 木头=棕色; 猪=粉色; 火烈鸟=粉色; 葡萄=紫色; 茄子=紫色;
大象=灰色; 老鼠=灰色"""

# country, capital
CAPITALS_EN = """China=Beijing; Japan=Tokyo; South Korea=Seoul; India=New Delhi; Thailand=Bangkok;
Vietnam=Hanoi; Russia=Moscow; France=Paris; Germany=Berlin; Italy=Rome; Spain=Madrid; Portugal=Lisbon;
Greece=Athens; England=London; Ireland=Dublin; Poland=Warsaw; Austria=Vienna; Sweden=Stockholm;
Norway=Oslo; Egypt=Cairo; Kenya=Nairobi; Canada=Ottawa; Mexico=Mexico City; Cuba=Havana; Peru=Lima;
Australia=Canberra"""
CAPITALS_ZH = """中国=北京; 日本=东京; 韩国=首尔; 印度=新德里; 泰国=曼谷; 越南=河内; 俄罗斯=莫斯科; 法国=巴黎;
德国=柏林; 意大利=罗马; 西班牙=马德里; 葡萄牙=里斯本; 希腊=雅典; 英国=伦敦; 爱尔兰=都柏林; 波兰=华沙;
奥地利=维也纳; 瑞典=斯德哥尔摩; 挪威=奥斯陆; 埃及=开罗; 肯尼亚=内罗毕; 加拿大=渥太华; 墨西哥=墨西哥城;
古巴=哈瓦那; 秘鲁=利马; 澳大利亚=堪培拉"""

# animal, sound, number of legs
ANIMALS_EN = """dog=woof=four; cat=meow=four; cow=moo=four; sheep=baa=four; pig=oink=four; horse=neigh=four;
duck=quack=two; hen=cluck=two; bird=tweet=two; owl=hoot=two; bee=buzz=six; frog=ribbit=four;
lion=roar=four; mouse=squeak=four; wolf=howl=four; snake=hiss=no"""
ANIMALS_ZH = """狗=汪汪=四; 猫=喵喵=四; 牛=哞哞=四; 羊=咩咩=四; 猪=哼哼=四; 马=咴咴=四; 鸭子=嘎嘎=两; 母鸡=咯咯=两;
小鸟=叽叽=两; 猫头鹰=咕咕=两; 蜜蜂=嗡嗡=六; 青蛙=呱呱=四; 狮子=吼吼=四; 老鼠=吱吱=四; 狼=嗷嗷=四; 蛇=嘶嘶=零"""

# Pairs that are opposites; asked in both directions.
OPPOSITES_EN = """big=small; hot=cold; tall=short; fast=slow; day=night; up=down; left=right; open=closed;
happy=sad; good=bad; new=old; full=empty; hard=soft; light=dark; rich=poor; early=late; near=far; wet=dry;
clean=dirty; strong=weak; loud=quiet; high=low; black=white; inside=outside; yes=no; begin=end; love=hate;
easy=difficult; thick=thin; sweet=bitter"""
OPPOSITES_ZH = """大=小; 热=冷; 高=矮; 快=慢; 白天=黑夜; 上=下; 左=右; 开=关; 高兴=难过; 好=坏; 新=旧; 满=空;
硬=软; 亮=暗; 富=穷; 早=晚; 近=远; 湿=干; 干净=脏; 强=弱; 吵闹=安静; 黑=白; 里面=外面; 是=不是; 开始=结束;
爱=恨; 容易=困难; 厚=薄; 甜=苦; 多=少"""

# English word, Chinese word; asked in both directions.
WORDS = """apple=苹果; banana=香蕉; water=水; tea=茶; coffee=咖啡; milk=牛奶; bread=面包; rice=米饭; egg=鸡蛋;
fish=鱼; meat=肉; dog=狗; cat=猫; bird=鸟; horse=马; tree=树; flower=花; grass=草; sun=太阳; moon=月亮;
star=星星; sky=天空; sea=大海; mountain=山; river=河; rain=雨; snow=雪; wind=风; fire=火; book=书; pen=笔;
paper=纸; school=学校; teacher=老师; student=学生; friend=朋友; mother=妈妈; father=爸爸; child=孩子;
house=房子; door=门; window=窗户; table=桌子; chair=椅子; bed=床; car=汽车; train=火车; city=城市; road=路;
computer=电脑; phone=手机; language=语言; model=模型; laboratory=实验室; assistant=助手; teach=教; learn=学习;
eat=吃; drink=喝; sleep=睡觉; run=跑; read=读; write=写; sing=唱歌; love=爱; time=时间; money=钱; world=世界"""

# term, what it is, in each language; the two lists need not match.
GLOSSARY_EN = """a computer=a machine that follows instructions; a language model=a program that predicts the next word;
a token=a small piece of text; a dog=a friendly animal that barks; a laboratory=a place for experiments;
Shanghai=a big city in China; a seed=the beginning of a plant; a library=a house full of books;
a browser=a program that shows web pages; rain=water that falls from clouds; ice=frozen water;
the moon=the Earth's only moon; the Earth=the planet we live on; a teacher=a person who helps others learn;
a GPU=a chip that does many sums at once; a dataset=a collection of examples; a year=twelve months;
a week=seven days; an hour=sixty minutes; a minute=sixty seconds"""
GLOSSARY_ZH = """电脑=按照指令工作的机器; 语言模型=预测下一个词的程序; 人工智能=让机器学会思考的技术; AI=人工智能的意思;
大模型=参数很多的语言模型; 实验室=做实验的地方; 上海=中国的一座大城市; 浦东=上海的一个区; 书生=读书的人;
助手=帮别人做事的人; 内在=里面的意思; 外在=外面的意思; 种子=植物的开始; 图书馆=有很多书的地方;
浏览器=看网页的程序; 冰=冻住的水; 地球=我们住的星球; 老师=教别人学习的人; 显卡=能同时做很多计算的芯片;
数据集=很多例子放在一起; 一年=十二个月; 一周=七天; 一小时=六十分钟; 达·芬奇=意大利的画家; 用户=使用软件的人"""

NAMES_EN = """Anna Ben Carl Dora Emma Frank Grace Henry Ivy Jack Kate Leo Lily Lucy Mark Mary Max Mia Nick Nina
Noah Oscar Paul Peter Rose Ruth Sam Sara Tim Tom Vera Will Zoe Alice Bob David Eva Hugo Jane John""".split()
NAMES_ZH = """小明 小红 小华 小丽 小刚 小芳 小强 小军 小雨 小雪 小龙 小虎 小月 小林 李明 王芳 张伟 刘洋 陈静 杨帆
赵磊 周杰 吴敏 孙悦 马超 林峰 高兰 何平 郭亮 罗宁""".split()

FAVORITES_EN = """red blue green yellow pink purple white black orange brown tea coffee milk apples bananas rice
bread cats dogs horses books flowers music rain snow""".split()
FAVORITES_ZH = """红色 蓝色 绿色 黄色 粉色 紫色 白色 黑色 橙色 茶 咖啡 牛奶 苹果 香蕉 米饭 面包 猫 狗 马 书 花 音乐 下雨
下雪 唱歌""".split()

# Things Seedling has never been told about; they fill the slots of the questions it must decline.
UNKNOWN_EN = """quantum physics; the stock market; the Roman Empire; Mozart; the Olympic Games; photosynthesis;
black holes; the president; chess; Atlantis; Narnia; Iceland; Brazil; Chile; Mongolia; Nepal; dinosaurs; jazz;
Shakespeare; volcanoes; Mars; bitcoin; football; Picasso; the pyramids; algebra; DNA; electricity; philosophy;
penguins; the Amazon; basketball; Einstein; castles; robots; pizza; opera; glaciers; Hamlet; sushi; Jupiter;
New Zealand; the Great Wall; gravity; steam engines; submarines; my neighbor; the ocean floor; violins"""
UNKNOWN_ZH = """量子物理; 股票; 罗马帝国; 莫扎特; 奥运会; 光合作用; 黑洞; 总统; 象棋; 冰岛; 巴西; 智利; 蒙古; 尼泊尔; 恐龙;
爵士乐; 莎士比亚; 火山; 火星; 比特币; 足球; 毕加索; 金字塔; 代数; 基因; 电; 哲学; 企鹅; 亚马孙河; 篮球; 爱因斯坦;
城堡; 机器人; 比萨饼; 京剧; 冰川; 红楼梦; 寿司; 木星; 新西兰; 长城; 引力; 蒸汽机; 潜水艇; 我的邻居; 海底; 小提琴"""


def _rows(table: str, *keys: str) -> list[dict[str, str]]:
    """`a=b; c=d` to one mapping from slot to text per fact."""
    rows = [" ".join(row.split()).split("=") for row in table.split(";")]
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _cycle(words: list[str], previous: str, following: str) -> list[dict[str, str]]:
    """Each word with the one after it, around the circle."""
    return [{previous: a, following: b} for a, b in zip(words, words[1:] + words[:1], strict=True)]


def _both_ways(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return rows + [{"word": row["opposite"], "opposite": row["word"]} for row in rows]


def _with_article(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [
        {**row, "animal": f"{'an' if row['animal'][0] in 'aeiou' else 'a'} {row['animal']}"}
        for row in rows
    ]


def _sums(words: list[str] | None) -> list[dict[str, str]]:
    """All sums of two one-digit numbers, as digits or as words."""
    names = words or [str(n) for n in range(19)]
    return [
        {"a": names[a], "b": names[b], "sum": names[a + b]} for a in range(10) for b in range(10)
    ]


def _numbers() -> list[dict[str, str]]:
    return [
        {"digits": str(n), "word": NUMBERS_EN[n], "zh": NUMBERS_ZH[n], "next": str(n + 1)}
        for n in range(1, 21)
    ]


# Table name to its facts, by language. A fact is a mapping from slot to text.
TABLES: dict[str, dict[str, list[dict[str, str]]]] = {
    "en": {
        "colors": _rows(COLORS_EN, "thing", "color"),
        "capitals": _rows(CAPITALS_EN, "country", "city"),
        "animals": _with_article(_rows(ANIMALS_EN, "animal", "sound", "legs")),
        "opposites": _both_ways(_rows(OPPOSITES_EN, "word", "opposite")),
        "words": _rows(WORDS, "en", "zh"),
        "glossary": _rows(GLOSSARY_EN, "term", "meaning"),
        "days": _cycle(WEEKDAYS_EN, "day", "next"),
        "months": _cycle(MONTHS_EN, "month", "next"),
        "seasons": _cycle(SEASONS_EN, "season", "next"),
        "weather": [
            {"season": s, "weather": w} for s, w in zip(SEASONS_EN, WEATHER_EN, strict=True)
        ],
        "numbers": _numbers(),
        "sums": _sums(None),
        "word-sums": _sums(NUMBERS_EN),
        "names": [{"name": name} for name in NAMES_EN + NAMES_ZH[:10]],
        "favorites": [{"like": like} for like in FAVORITES_EN],
        "unknown": _rows(UNKNOWN_EN, "topic"),
    },
    "zh": {
        "colors": _rows(COLORS_ZH, "thing", "color"),
        "capitals": _rows(CAPITALS_ZH, "country", "city"),
        "animals": _rows(ANIMALS_ZH, "animal", "sound", "legs"),
        "opposites": _both_ways(_rows(OPPOSITES_ZH, "word", "opposite")),
        "words": _rows(WORDS, "en", "zh"),
        "glossary": _rows(GLOSSARY_ZH, "term", "meaning"),
        "days": _cycle(WEEKDAYS_ZH, "day", "next"),
        "months": _cycle(MONTHS_ZH, "month", "next"),
        "seasons": _cycle(SEASONS_ZH, "season", "next"),
        "weather": [
            {"season": s, "weather": w} for s, w in zip(SEASONS_ZH, WEATHER_ZH, strict=True)
        ],
        "numbers": _numbers(),
        "sums": _sums(None),
        "word-sums": _sums(NUMBERS_ZH),
        "names": [{"name": name} for name in NAMES_ZH + NAMES_EN[:15]],
        "favorites": [{"like": like} for like in FAVORITES_ZH],
        "unknown": _rows(UNKNOWN_ZH, "topic"),
    },
}
