<?php
// What the PHP programs share: how they report. One JSON line per step; the test compares it with what a client must see.
// php <client>_story.php <url> <prefix>
[, $url, $prefix] = $argv;
$parts = parse_url($url);
define('HOST', $parts['host']);
define('PORT', $parts['port']);
define('PREFIX', $prefix);

function name(string $suffix): string
{
    return PREFIX . $suffix;
}

function say(string $step, mixed $saw = true): void
{
    echo json_encode(['step' => $step, 'saw' => $saw], JSON_THROW_ON_ERROR), "\n";
}

/** Asks the test to do something to the broker. False: this broker must be left alone. */
function ask(string $what): bool
{
    echo json_encode(['ask' => $what]), "\n";
    return trim((string) fgets(STDIN)) === 'done';
}

/** The keys whose values did not come back as they went out, type and all. */
function lost(array $sent, array $came): array
{
    return array_values(array_filter(array_keys($sent), fn ($key) => !array_key_exists($key, $came) || !same($sent[$key], $came[$key])));
}

function same(mixed $a, mixed $b): bool
{
    return is_object($a) ? $a == $b : $a === $b;
}
