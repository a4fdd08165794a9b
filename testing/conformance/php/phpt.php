<?php
// Runs the .phpt tests of a folder and prints TAP: phpt.php FOLDER. It knows the sections and patterns that the amqp extension's tests use.

/** The sections of a test file, by name. */
function sections(string $file): array
{
    $found = [];
    $name = null;
    foreach (file($file) as $line) {
        if (preg_match('/^--([A-Z]+)--\s*$/', $line, $m)) {
            $name = $m[1];
            $found[$name] = '';
        } elseif ($name !== null) {
            $found[$name] .= $line;
        }
    }
    return $found;
}

/** Runs PHP code beside the test's helpers; its output. */
function run(string $code, array $ini, string $folder): string
{
    $file = tempnam(sys_get_temp_dir(), 'phpt');
    file_put_contents($file, $code);
    $flags = '-d include_path=' . escapeshellarg($folder) . ' -d display_errors=1 -d html_errors=0 -d log_errors=0 -d error_reporting=32767 -d date.timezone=UTC';
    foreach ($ini as $setting) {
        $flags .= ' -d ' . escapeshellarg($setting);
    }
    $output = shell_exec('cd ' . escapeshellarg($folder) . " && timeout 30 php $flags " . escapeshellarg($file) . ' 2>&1');
    unlink($file);
    return trim(str_replace("\r\n", "\n", (string) $output));
}

/** The regular expression that an EXPECTF section stands for. */
function pattern(string $expected): string
{
    return '#^' . strtr(preg_quote(trim(str_replace("\r\n", "\n", $expected)), '#'), [
        '%e' => '/', '%s' => '[^\r\n]+', '%S' => '[^\r\n]*', '%a' => '.+', '%A' => '.*', '%w' => '\s*', '%i' => '[+-]?\d+', '%d' => '\d+',
        '%x' => '[0-9a-fA-F]+', '%f' => '[+-]?\.?\d+\.?\d*(?:[Ee][+-]?\d+)?', '%c' => '.',
    ]) . '$#s';
}

/** Runs one test: null when it passed, else what it printed; a skipped one throws. */
function failure(string $file): ?string
{
    $s = sections($file);
    $folder = dirname($file);
    $skip = run($s['SKIPIF'] ?? '', [], $folder);
    if (stripos($skip, 'skip') === 0) {
        throw new RuntimeException(trim(substr($skip, 4)));
    }
    $output = run($s['FILE'], array_filter(array_map('trim', explode("\n", $s['INI'] ?? ''))), $folder);
    $ok = isset($s['EXPECT']) ? trim(str_replace("\r\n", "\n", $s['EXPECT'])) === $output : preg_match(pattern($s['EXPECTF']), $output) === 1;
    return $ok ? null : $output;
}

$only = getenv('ONLY') ?: '';
$files = array_filter(glob($argv[1] . '/*.phpt'), fn ($f) => preg_match('#' . $only . '#', $f));
foreach ($files as $file) {
    $name = basename($file, '.phpt');
    try {
        $output = failure($file);
        echo $output === null ? "ok $name\n" : "not ok $name\n$output\n";
    } catch (RuntimeException $e) {
        echo "ok $name # SKIP {$e->getMessage()}\n";
    }
}
echo '1..' . count($files) . "\n";
